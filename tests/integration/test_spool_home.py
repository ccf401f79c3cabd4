"""The spool lies in the home: a place that others could change is refused, and what lies in the old one is brought."""

import os
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import anyio
import pytest
from structlog.testing import capture_logs

from ops.stack import Endpoints
from producer import Client
from shared.db.engine import Engine
from shared.settings import Settings, SettingsError
from tests.support import rows
from tests.support.answering import inline_answer, png
from tests.support.drain import _living, runtime_for, settings_for
from tests.support.kept import in_bucket
from worker import event_loop
from worker.evidence.inline_answers import recover_leftovers
from worker.runtime import Runtime, spool_directory


@pytest.fixture
def shared_temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary directory, as it is: sticky, and everybody's."""
    place = tmp_path / "shared"
    place.mkdir()
    place.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@pytest.fixture
def settings(database_url: str, endpoints: Endpoints, tmp_path: Path) -> Settings:
    account = {"provider": "openrouter", "api_key": "k", "base_url": "http://127.0.0.1:9", "allow_unknown_price": True}
    accounts = {"openrouter": account}
    return settings_for(database_url, endpoints, "", accounts=accounts, home=tmp_path / "home")


@pytest.fixture
def runtime(shared_temp: Path, settings: Settings, endpoints: Endpoints) -> Iterator[Runtime]:
    with runtime_for(settings, endpoints) as made:
        yield made


def open_submission(engine: Engine) -> UUID:
    """A paid call of OpenRouter whose sender died before it said anything."""
    rows.add(engine, [rows.new_job("a", account="openrouter")], accounts=("openrouter",))
    claims = rows.claim(engine, account="openrouter")
    (intent,) = rows.open_intents(engine, claims, account="openrouter", price=Decimal("0.05"))
    return intent.submission_id


def left(shared_temp: Path, submission_id: UUID, body: bytes, *, suffix: str = ".reply") -> Path:
    old = shared_temp / f"genqueue-{os.getuid()}" / "replies"
    old.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = old / f"{submission_id}{suffix}"
    file.write_bytes(body)
    file.chmod(0o600)
    return file


def recover(runtime: Runtime, *, seconds: float = 20) -> None:
    async def work() -> None:
        async with _living(runtime):
            with anyio.move_on_after(seconds):
                await recover_leftovers(runtime)

    event_loop.run(work)


def test_nothing_paid_lies_in_the_shared_temporary_directory(
    runtime: Runtime, shared_temp: Path, tmp_path: Path
) -> None:
    assert runtime.spool_dir == tmp_path / "home" / "spool"
    with runtime.replies.open(uuid4()).rewound():
        assert [path.suffix for path in (tmp_path / "home" / "spool" / "replies").iterdir()] == [".part"]
    assert list(shared_temp.iterdir()) == []


def test_a_worker_does_not_start_on_a_spool_that_others_can_write(settings: Settings, endpoints: Endpoints) -> None:
    place = spool_directory(settings)
    place.mkdir(parents=True)
    for mode, path in ((0o777, place), (0o1777, place)):
        path.chmod(mode)
        with pytest.raises(SettingsError, match=rf"does not start: .*{path} can be written by other users"):
            runtime_for(settings, endpoints).__enter__()
    place.chmod(0o700)
    (place / "replies").symlink_to("/tmp")  # noqa: S108 - what another would lead us to
    with pytest.raises(SettingsError, match="GENQUEUE_SPOOL_DIR"):
        runtime_for(settings, endpoints).__enter__()


@pytest.mark.parametrize("suffix", [".reply", ".part"])
def test_an_answer_in_the_old_place_is_brought_home_and_used(
    suffix: str, runtime: Runtime, engine: Engine, client: Client, shared_temp: Path
) -> None:
    submission_id = open_submission(engine)
    file = left(shared_temp, submission_id, inline_answer(png(1)), suffix=suffix)
    strangers = left(shared_temp, uuid4(), inline_answer(png(2)))
    recover(runtime)
    assert rows.rows(engine, "SELECT outcome, settled FROM submission") == [("accepted", Decimal("0.04"))]
    assert (file.exists(), strangers.exists()) == (False, True)
    assert in_bucket(runtime.storage, submission_id)
    with runtime.replies.read(submission_id) as kept:
        assert kept.read(10**6) == inline_answer(png(1))


@pytest.mark.parametrize("fault", ["directory", "link", "hard link", "mode"])
def test_an_answer_in_the_old_place_that_another_could_have_made_is_not_used(
    fault: str, runtime: Runtime, engine: Engine, shared_temp: Path, tmp_path: Path
) -> None:
    submission_id = open_submission(engine)
    file = left(shared_temp, submission_id, inline_answer(png(1)))
    if fault == "directory":
        file.parent.parent.chmod(0o777)
    elif fault == "mode":
        file.chmod(0o666)
    elif fault == "hard link":
        (tmp_path / "second").hardlink_to(file)
    else:
        file.rename(tmp_path / "elsewhere")
        file.symlink_to(tmp_path / "elsewhere")
    with capture_logs() as logs:
        recover(runtime, seconds=1)  # what is not used is looked at again and again
    assert rows.rows(engine, "SELECT outcome FROM submission") == [(None,)]
    assert not in_bucket(runtime.storage, submission_id)
    assert any(line["log_level"] in {"error", "warning"} for line in logs)
