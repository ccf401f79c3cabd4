"""The HTTP API against its own contract: schemathesis sends what the contract allows, and what it does not.

No answer may be a 5xx; each must have a status, a content type and a document that the contract names; nothing may be
open that needs a token.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from producer import Client
from shared.settings import load
from shared.tokens import Scope
from tests.support.api import bearer, serving

_EXAMPLES = int(os.environ.get("API_EXAMPLES", "10"))  # `make api-contract` sends fifty for each operation
_SECONDS = 24 * _EXAMPLES
# What may refuse a request that the contract does not allow; 431: a key of many kilobytes is refused unread.
_CONFIG = """
[checks]
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 406, 413, 415, 422, 431]
"""


@pytest.mark.timeout(_SECONDS + 60)
def test_the_api_keeps_its_contract_whatever_is_sent(database_url: str, repository: Path, tmp_path: Path) -> None:
    with Client(settings=load(database_url=database_url), connections=8) as client, serving(client) as http:
        (header,) = bearer(client, Scope.ADMIN, posts=10_000).values()
        (tmp_path / "schemathesis.toml").write_text(_CONFIG)
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", str(repository / "docs/openapi.json")),
            *("--url", str(http.base_url), "--header", f"Authorization: {header}"),
            *("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", str(_EXAMPLES), "--seed", "1"),
            # A stream of events lasts as long as its batch.
            *("--exclude-path", "/v1/batches/{name}/events"),
            # A row may be well formed and yet nothing that a provider makes.
            *("--exclude-checks", "positive_data_acceptance", "--no-color"),
        ]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
