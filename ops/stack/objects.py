"""S3 as a child: the guarded emulator of ``s3.py``, its bucket, and the signed requests that check it."""

import hashlib
import http.client
import importlib.metadata
import os
import sys
from http import HTTPStatus
from pathlib import Path
from signal import SIGTERM, Signals
from typing import ClassVar

from ops.stack.config import BUCKET, Config
from ops.stack.errors import StackError
from ops.stack.ports import LOOPBACK
from ops.stack.process import Command

REGION = "us-east-1"
ANSWER_SECONDS = 5.0
ROOT = Path(__file__).parents[2]


def emulator_title() -> str:
    """Return its name and version. Raises StackError if it is not installed."""
    try:
        return f"ministack {importlib.metadata.version('ministack')} (wheel)"
    except importlib.metadata.PackageNotFoundError:
        raise StackError(
            "no S3 server found: install the `embedded` extra (ministack), or set GENQUEUE_S3_ENDPOINT_URL"
        ) from None


class Objects:
    """The S3 server of one home."""

    name: ClassVar[str] = "s3"
    stop_signal: ClassVar[Signals] = SIGTERM

    def __init__(self, directory: Path, config: Config) -> None:
        self._data = directory / "s3"
        self._config = config

    def prepare(self) -> None:
        """Make its data directory."""
        emulator_title()
        try:
            self._data.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StackError(f"cannot create {self._data}: {error.strerror}") from None

    def command(self) -> Command:
        """Return how to start it."""
        # Made absolute: the server does not run in this process's directory.
        inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        paths = [str(ROOT), *(str(Path(path).absolute()) for path in inherited if path)]
        return Command(
            argv=[sys.executable, "-m", "ops.stack.s3"],
            environment={
                "PATH": os.defpath,
                "LC_ALL": "C.UTF-8",
                "PYTHONPATH": os.pathsep.join(paths),
                "GATEWAY_PORT": str(self._config.ports["s3"]),
                "S3_DATA_DIR": str(self._data),
                "S3_PERSIST": "1",
                "SERVICES": "s3",
                "AUTH": "true",
                "AWS_ACCESS_KEY_ID": self._config.s3_access_key,
                "AWS_SECRET_ACCESS_KEY": self._config.s3_secret_key,
                "MINISTACK_HOST": LOOPBACK,
                "MINISTACK_REGION": REGION,
                # Its request log names the objects and, for signed URLs, their signatures.
                "LOG_LEVEL": "WARNING",
            },
            directory=self._data,
            death_signal=SIGTERM,
        )

    def problem(self) -> str | None:
        """Say why the bucket cannot be used; None if it can. Creates it when missing."""
        status, reason = self._signed("HEAD")
        if status == HTTPStatus.NOT_FOUND:
            status, reason = self._signed("PUT")
        return None if status == HTTPStatus.OK else f"bucket {BUCKET}: {status or ''} {reason}"

    def _signed(self, method: str) -> tuple[int, str]:
        # Imported when the servers are already starting: it takes longer than some of them.
        from botocore.auth import S3SigV4Auth  # noqa: PLC0415 - see above
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415 - see above
        from botocore.credentials import Credentials  # noqa: PLC0415 - see above

        url = f"http://{LOOPBACK}:{self._config.ports['s3']}/{BUCKET}"
        request = AWSRequest(method=method, url=url, headers={"X-Amz-Content-SHA256": hashlib.sha256(b"").hexdigest()})
        credentials = Credentials(self._config.s3_access_key, self._config.s3_secret_key)
        S3SigV4Auth(credentials, "s3", REGION).add_auth(request)
        return _request(self._config, method, f"/{BUCKET}", dict(request.headers.items()))


def _request(config: Config, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
    """Return the status and the Server header; status 0 and the reason when nobody answers."""
    connection = http.client.HTTPConnection(LOOPBACK, config.ports["s3"], timeout=ANSWER_SECONDS)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.getheader("Server") or response.reason
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error) or type(error).__name__
    finally:
        connection.close()
