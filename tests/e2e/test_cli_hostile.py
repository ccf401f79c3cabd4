"""Hostile input through the command line: one clear line, the documented exit code, nothing enqueued by halves."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from ops.stack import Endpoints, Home, Stack
from tests.support.command import Ran, genqueue

Run = Callable[..., Ran]

GOOD = "custom_id,provider,prompt\na,bloom,a harbour\nb,bloom,a tram\n"


@pytest.fixture
def env(database_url: str, endpoints: Endpoints, tmp_path: Path) -> dict[str, str]:
    return {**endpoints.environment(), "GENQUEUE_DATABASE_URL": database_url, "GENQUEUE_HOME": str(tmp_path / "home")}


@pytest.fixture
def run(env: dict[str, str], tmp_path: Path) -> Run:
    def command(*arguments: str | Path, stdin: bytes = b"", **changes: str) -> Ran:
        return genqueue(*arguments, env={**env, **changes}, cwd=tmp_path, stdin=stdin)

    return command


def jobs_in(database_url: str) -> int:
    with psycopg.connect(database_url, options="-c search_path=genqueue") as connection:
        row = connection.execute("SELECT count(*) FROM job").fetchone()
    assert row is not None
    return int(row[0])


BAD_FILES = {
    "missing column": (b"custom_id,provider\na,bloom\n", "line 1, prompt"),
    "unknown column": (b"provider,prompt,colour\nbloom,a harbour,red\n", "line 1, colour"),
    "empty file": (b"", "holds no"),
    "header only": (b"provider,prompt\n", "no rows"),
    "wrong encoding": ("provider,prompt\nbloom,ein H\xe4fen\n".encode("latin-1"), "line 2"),
    "workbook": (b"PK\x03\x04\x14\x00", "save the sheet as CSV UTF-8"),
    "duplicate custom_id": (b"custom_id,provider,prompt\na,bloom,x\na,bloom,y\n", "line 3 (a), custom_id"),
    "prompt too long": (b"provider,prompt\nbloom," + b"x" * 2001 + b"\n", "2000"),
    "unknown ratio": (b"provider,prompt,aspect_ratio\nbloom,a harbour,7:3\n", "line 2, aspect_ratio"),
    "unknown provider": (b"provider,prompt\nblom,a harbour\n", "line 2, provider"),
    "too many images": (b"provider,prompt,n\nbloom,a harbour,6\n", "line 2, n"),
    "unterminated quote": (b'provider,prompt\nbloom,"a harbour\n', "line 2"),
    "a line of 50 MB": (b"provider,prompt\nbloom," + b"x" * 50_000_000 + b"\n", "line 2"),
    "one bad row among good ones": (GOOD.encode() + b"c,bloom,\n", "line 4 (c), prompt"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_refused_by_line_and_field_and_nothing_is_enqueued(
    case: str, run: Run, tmp_path: Path, database_url: str
) -> None:
    content, expected = BAD_FILES[case]
    (tmp_path / "bad.csv").write_bytes(content)
    ran = run("enqueue", "bad.csv")
    assert ran.code == 2
    assert expected in ran.err
    assert "nothing was enqueued" in ran.err
    assert "Traceback" not in ran.err
    assert jobs_in(database_url) == 0


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace("\n", "\r\n").encode(),
        GOOD.encode("utf-16"),
        GOOD.replace(",", ";").encode(),
        b'custom_id,provider,prompt\na,bloom,"a harbour\nat dawn"\nb,bloom,a tram\n',
    ],
    ids=["BOM", "CRLF", "UTF-16", "semicolons", "quoted newline"],
)
def test_harmless_oddities_are_accepted(content: bytes, run: Run, tmp_path: Path, database_url: str) -> None:
    (tmp_path / "odd.csv").write_bytes(content)
    assert run("enqueue", "odd.csv").code == 0
    assert jobs_in(database_url) == 2


LIMITS = {
    "bloom prompt": ({"provider": "bloom", "prompt": "x" * 2001}, "2000"),
    "bloom references": ({"provider": "bloom", "prompt": "x", "references": [f"{i:032x}" for i in range(11)]}, "10"),
    "bloom seed": ({"provider": "bloom", "prompt": "x", "seed": 1}, "seed"),
    "getimg prompt": ({"provider": "getimg", "model": "m", "prompt": "x" * 4097}, "4096"),
    "getimg count": ({"provider": "getimg", "model": "m", "prompt": "x", "n": 2}, "one image a call"),
    "getimg format": ({"provider": "getimg", "model": "m", "prompt": "x", "output_format": "gif"}, "png, jpeg, webp"),
    "openrouter count": ({"provider": "openrouter", "model": "a/b", "prompt": "x", "n": 11}, "10"),
    "openrouter background": (
        {
            "provider": "openrouter",
            "model": "a/b",
            "prompt": "x",
            "output_format": "jpeg",
            "options": {"background": "transparent"},
        },
        "transparent",
    ),
    "posteverywhere ratio": ({"provider": "posteverywhere", "prompt": "x", "aspect_ratio": "21:9"}, "16:9"),
    "posteverywhere count": ({"provider": "posteverywhere", "prompt": "x", "n": 2}, "one image a call"),
    "banatie ratio": ({"provider": "banatie", "prompt": "x", "aspect_ratio": "4:5"}, "21:9"),
    "banatie references": ({"provider": "banatie", "prompt": "x", "references": [f"@a{i}" for i in range(4)]}, "3"),
}


@pytest.mark.parametrize("case", LIMITS)
def test_what_a_provider_cannot_do_is_refused_with_its_real_limit(
    case: str, run: Run, tmp_path: Path, database_url: str
) -> None:
    row, limit = LIMITS[case]
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    ran = run("enqueue", "rows.jsonl")
    assert ran.code == 2
    assert limit in ran.err
    assert jobs_in(database_url) == 0


def test_a_file_from_standard_input_needs_a_batch_name(run: Run, database_url: str) -> None:
    refused = run("enqueue", "-", stdin=GOOD.encode())
    assert (refused.code, jobs_in(database_url)) == (2, 0)
    assert "--batch" in refused.err
    assert run("enqueue", "-", "--batch", "piped", stdin=GOOD.encode()).code == 0
    assert jobs_in(database_url) == 2


def test_the_same_file_again_adds_nothing_and_a_changed_row_is_refused(
    run: Run, tmp_path: Path, database_url: str
) -> None:
    (tmp_path / "rows.csv").write_text(GOOD)
    run("enqueue", "rows.csv")
    again = json.loads(run("enqueue", "rows.csv", "--json").out)
    assert (again["added"], again["known"]) == (0, 2)
    (tmp_path / "rows.csv").write_text(GOOD.replace("a tram", "a bus") + "c,bloom,new\n")
    changed = run("enqueue", "rows.csv")
    assert changed.code == 2
    assert "'rows'" in changed.err
    assert jobs_in(database_url) == 2


@pytest.mark.parametrize("name", ["nowhere.csv", "."])
def test_a_file_that_cannot_be_read_is_one_line(name: str, run: Run, database_url: str) -> None:
    ran = run("enqueue", name)
    assert (ran.code, len(ran.error_lines), jobs_in(database_url)) == (2, 1, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        ("watch", "nowhere"),
        ("jobs", "nowhere"),
        ("results", "nowhere"),
        ("explain", "nowhere"),
        ("retry", "nowhere"),
        ("resolve", "nowhere", "--fail"),
        ("cancel", "--batch", "nowhere"),
        ("pause", "nowhere"),
        ("download", "nowhere", "pictures"),
        ("providers", "nowhere"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_name_that_does_not_exist_is_one_line_and_exit_code_2(arguments: tuple[str, ...], run: Run) -> None:
    ran = run(*arguments)
    assert ran.code == 2
    assert len(ran.error_lines) == 1
    assert "nowhere" in ran.err


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_unreachable_database_is_one_line_that_says_where(run: Run) -> None:
    port = closed_port()
    ran = run("batches", GENQUEUE_DATABASE_URL=f"postgresql://me:hidden-word@127.0.0.1:{port}/q")
    assert ran.code == 1
    assert len(ran.error_lines) == 1
    assert str(port) in ran.err
    assert "hidden-word" not in ran.err


@pytest.mark.parametrize("url", ["nonsense", "sqlite:///x.db", "mysql://a/b"])
def test_a_database_url_that_is_none_is_one_line(url: str, run: Run) -> None:
    ran = run("batches", GENQUEUE_DATABASE_URL=url)
    assert (ran.code, len(ran.error_lines)) == (1, 1)
    assert "GENQUEUE_DATABASE_URL" in ran.err


def test_a_wrong_password_is_one_line_without_the_password(run: Run, database_url: str) -> None:
    head, _, tail = database_url.rpartition("@")
    wrong = f"{head.rpartition(':')[0]}:hidden-word@{tail}"
    ran = run("batches", GENQUEUE_DATABASE_URL=wrong)
    assert (ran.code, len(ran.error_lines)) == (1, 1)
    assert "hidden-word" not in ran.err


def test_an_unreachable_bucket_is_found_by_doctor_and_stops_a_download(run: Run, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(GOOD)
    run("enqueue", "rows.csv")
    dead = {"GENQUEUE_S3_ENDPOINT_URL": f"http://127.0.0.1:{closed_port()}"}
    findings = json.loads(run("doctor", "--json", **dead).out)["findings"]
    (bucket,) = [finding for finding in findings if finding["check"] == "bucket"]
    assert not bucket["ok"]
    assert bucket["do"]


def test_a_misspelt_setting_is_found_by_doctor(run: Run) -> None:
    ran = run("doctor", GENQUEUE_BLOM_API_KEY="x")
    assert ran.code == 1
    assert "GENQUEUE_BLOOM_API_KEY" in ran.out


def test_a_wrong_setting_is_one_line_that_names_it(run: Run) -> None:
    ran = run("batches", GENQUEUE_TICK_SECONDS="soon")
    assert (ran.code, len(ran.error_lines)) == (1, 1)
    assert "GENQUEUE_TICK_SECONDS" in ran.err


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("UPDATE alembic_version SET version_num = '9999'", "newer"),
        ("DROP TABLE alembic_version", "genqueue migrate"),
    ],
    ids=["newer", "older"],
)
def test_a_schema_that_is_not_ours_is_one_line(statement: str, word: str, run: Run, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True, options="-c search_path=genqueue") as connection:
        connection.execute(statement)
    ran = run("batches")
    assert (ran.code, len(ran.error_lines)) == (1, 1)
    assert word in ran.err


def test_a_home_that_cannot_be_made_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    ran = run("batches", GENQUEUE_DATABASE_URL="", GENQUEUE_HOME=str(tmp_path / "file" / "home"))
    assert (ran.code, len(ran.error_lines)) == (1, 1)


def test_two_stacks_in_one_home_are_refused_by_the_second(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "busy"
    with Stack(Home(home), services=("redis",)):
        ran = run("up", "--workers", "0", GENQUEUE_HOME=str(home))
    assert (ran.code, len(ran.error_lines)) == (1, 1)
    assert "already running" in ran.err


def test_flower_refuses_to_open_to_everyone_without_a_password(run: Run) -> None:
    ran = run("flower", "--address", "0.0.0.0")
    assert (ran.code, len(ran.error_lines)) == (1, 1)
    assert "FLOWER_BASIC_AUTH" in ran.err


def test_a_home_on_a_read_only_file_system_is_one_line(run: Run) -> None:
    ran = run("batches", GENQUEUE_DATABASE_URL="", GENQUEUE_HOME="/proc/genqueue")
    assert (ran.code, len(ran.error_lines)) == (1, 1)
    assert "/proc/genqueue" in ran.err


def test_a_missing_key_is_named_with_the_variable_that_would_set_it(run: Run) -> None:
    checks = {finding["check"]: finding["seen"] for finding in json.loads(run("doctor", "--json").out)["findings"]}
    assert "GENQUEUE_BLOOM_API_KEY" in checks["key of bloom"]
    set_here = json.loads(run("doctor", "--json", GENQUEUE_BLOOM_API_KEY="sim-x").out)["findings"]
    assert "key of bloom" not in {finding["check"] for finding in set_here}
