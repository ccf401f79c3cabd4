"""`genqueue gallery`: one page with every picture, which loads nothing and obeys no text of others."""

import re
from pathlib import Path
from typing import Any

import pytest

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from tests.support.command import genqueue
from tests.support.drain import drain
from tests.support.outcome import ended
from worker.runtime import Runtime


@pytest.fixture
def page(client: Client, runtime: Runtime, simulated: Simulator, endpoints: Endpoints, database_url: str) -> Path:
    """The page of a batch with one picture, two pictures and a refusal, behind hostile prompts."""
    prompt = "</style><script>alert(1)</script> a harbour"
    rows: list[dict[str, Any]] = [
        {"provider": "bloom", "prompt": prompt, "custom_id": "one"},
        {"provider": "bloom", "prompt": "two", "n": 2, "custom_id": "two"},
        {"provider": "bloom", "prompt": "[sim:moderated] no", "custom_id": "refused"},
    ]
    client.enqueue(rows, batch="b")
    drain(runtime, ended(client))
    return Path("gallery.html")


def test_a_gallery_is_one_page_that_loads_nothing(
    page: Path, database_url: str, endpoints: Endpoints, tmp_path: Path
) -> None:
    env = {
        **endpoints.environment(),
        "GENQUEUE_DATABASE_URL": database_url,
        "GENQUEUE_HOME": str(tmp_path / "home"),
    }
    ran = genqueue("gallery", "b", "--all", env=env, cwd=tmp_path)
    assert (ran.code, ran.err.strip()) == (0, "3 pictures in gallery.html"), ran.err
    text = (tmp_path / page).read_text("utf-8")
    assert text.count('src="data:image/webp;base64,UklGR') == 3
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert "<script" not in text
    assert "alert(1)" in text
    assert "content_refused_after_purchase" in text
    shy = genqueue("gallery", "b", "--no-prompts", "--originals", "-o", "few.html", env=env, cwd=tmp_path)
    assert shy.code == 0
    few = (tmp_path / "few.html").read_text("utf-8")
    assert "harbour" not in few
    assert "refused" not in few
    assert len(re.findall(r'href="(?:one|two)-\d-[0-9a-f]{8}\.\w+"', few)) == 3
    assert genqueue("gallery", "none", env=env, cwd=tmp_path).code == 2
    assert not (tmp_path / "gallery.html.part").exists()
