"""The dashboard: closed, bounded, in few statements, and never more than text from a hostile prompt."""

import csv
import hashlib
import io
import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ops.dashboard.guard import POLICY
from ops.dashboard.sessions import Right
from ops.stack import Endpoints
from producer import Client
from shared.db.engine import Engine, transaction
from shared.db.jobs import model_times
from shared.db.read import batch_page
from shared.db.read.batch_page import Filter
from shared.db.webhooks import deliveries, endpoints
from shared.ids import new_id
from shared.lifecycle import ImageState
from shared.settings import load
from tests.support import held, rows
from tests.support.browsing import OWN, TOKEN, browsing, signed_in, storage_of
from tests.support.drain import drain
from tests.support.outcome import ended
from worker.runtime import Runtime

PAGES = ("/", "/batches", "/batch?name=b", "/batch?name=h", "/held", "/money", "/money.csv", "/find?job=c", "/failures",
         "/accounts", "/webhooks")  # fmt: skip
_OF_STATUS = {"/", "/accounts"}
"""The pages of the whole queue's state, which is read once for all viewers."""
_FURTHER = ("/batch?name=b&q=c&state=failed", "/batches?name=b", "/batch?name=b&q=sku%3D17",
            "/live?page=batch&name=h&once=1")  # fmt: skip
HOSTILE = "</script><img src=x onerror=alert(1)>{{7*1111}}\u202e'\""


class Tags(HTMLParser):
    """Collects what a browser would see as elements, and every place that a page names."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.places: list[str] = []
        self.inline: list[str] = []
        self.text = ""

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in {"href", "src", "action"} and value and not value.startswith("#"):
                self.places.append(value)
            if name.startswith("on") or name == "style":
                self.inline.append(f"{tag} {name}")


def read(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


def a_bit_of_everything(engine: Engine) -> str:
    """A batch with held, failed, stored and queued jobs; returns one job's id."""
    (job, *_) = held.held(engine, 2, batch="h")
    held.failed(engine, batch="h")
    rows.transferring(engine, ImageState.READY)
    rows.add(engine, [rows.new_job("waits")])
    rows.rows(engine, "UPDATE job SET on_hold = true, error_code = 'batch_cap_reached' WHERE custom_id = 'waits'")
    return str(job)


@pytest.mark.parametrize("path", [*PAGES, "/job/01900000-0000-7000-8000-000000000000", "/original/x/0-a.png"])
def test_every_page_asks_whoever_is_not_signed_in_to_sign_in(engine: Engine, tmp_path: Path, path: str) -> None:
    with browsing(engine, tmp_path) as browser:
        answer = browser.get(path)
        assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/sign-in")
        assert answer.headers["content-security-policy"] == POLICY
        assert not browser.statements


def test_a_wrong_token_opens_nothing_and_too_many_close_the_door(engine: Engine, tmp_path: Path) -> None:
    with browsing(engine, tmp_path) as browser:
        assert [browser.sign_in("wrong").status_code for _ in range(11)] == [403] * 10 + [429]
        assert browser.sign_in(TOKEN).status_code == 429
        assert browser.get("/").status_code == 303


def test_a_session_is_a_strict_cookie_and_ends_with_the_sign_out(engine: Engine, tmp_path: Path) -> None:
    with browsing(engine, tmp_path) as browser:
        cookie = browser.sign_in().headers["set-cookie"]
        assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in cookie.split(";")}
        assert TOKEN not in cookie
        kept = dict(browser.client.cookies)
        assert browser.get("/").status_code == 200
        browser.post("/sign-out")
        browser.client.cookies.update(kept)
        assert browser.get("/").status_code == 303


@pytest.mark.parametrize("after", ["//evil.example", "/\\evil.example", "https://evil.example", "\n/x"])
def test_signing_in_leads_to_no_other_site(engine: Engine, tmp_path: Path, after: str) -> None:
    with browsing(engine, tmp_path) as browser:
        answer = browser.post("/sign-in", token=TOKEN, next=after)
        assert answer.headers["location"] == "/"
        assert browser.post("/sign-in", token=TOKEN, next="/batch?name=a/b").headers["location"] == "/batch?name=a/b"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (OWN, 303),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "http://testserver"}, 303),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
)
def test_a_form_counts_only_from_our_own_page(
    engine: Engine, tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    with browsing(engine, tmp_path) as browser:
        assert browser.post("/sign-in", headers=headers, token=TOKEN).status_code == status


def test_a_page_that_was_rebound_to_us_is_refused(engine: Engine, tmp_path: Path) -> None:
    with signed_in(engine, tmp_path) as browser:
        assert browser.client.get("/", headers={"Host": "evil.example"}).status_code == 421


def test_each_page_is_read_in_at_most_three_statements(engine: Engine, tmp_path: Path) -> None:
    job = a_bit_of_everything(engine)
    with signed_in(engine, tmp_path) as browser:
        for path in (*PAGES, f"/job/{job}", *_FURTHER):
            if path in _OF_STATUS:
                continue
            answer = browser.get(path)
            assert answer.status_code in {200, 303}, (path, answer.text[:500])
            assert 0 < len(browser.statements) <= 3, (path, browser.statements)


def test_the_state_of_the_queue_is_read_once_for_all_viewers(engine: Engine, tmp_path: Path) -> None:
    a_bit_of_everything(engine)
    with signed_in(engine, tmp_path, fresh_seconds=60) as browser:
        assert "2 jobs at bloom are held" in browser.get("/").text
        assert 0 < len(browser.statements) <= 20
        assert browser.get("/").status_code == 200
        assert not browser.statements


def test_nothing_in_a_page_is_inline_or_from_elsewhere_and_hostile_text_stays_text(
    engine: Engine, tmp_path: Path
) -> None:
    job = a_bit_of_everything(engine)
    rows.rows(engine, "UPDATE job SET custom_id = :hostile || id, request = jsonb_set(request, '{prompt}',"
              " to_jsonb(CAST(:hostile AS text))), error = :hostile", hostile=HOSTILE)  # fmt: skip
    rows.rows(engine, "UPDATE batch SET name = :hostile WHERE name = 'h'", hostile=HOSTILE)
    with signed_in(engine, tmp_path) as browser:
        for path, query in (("/", {}), ("/batches", {}), ("/batch", {"name": HOSTILE, "q": "<i>"}), ("/held", {}),
                            ("/batch", {"name": HOSTILE}), ("/money", {}), (f"/job/{job}", {}),
                            ("/find", {"job": HOSTILE}), ("/batch", {"name": "<b>none"})):  # fmt: skip
            page = browser.get(path, **query).text
            tags = read(page)
            assert not {"img", "b", "i"} & set(tags.tags), path
            assert tags.tags.count("script") == 1
            assert not tags.inline
            assert all(place.startswith("/") and not place.startswith("//") for place in tags.places)
            assert "7777" not in page
            assert "\u202e" not in tags.text, "a direction mark is shown, not obeyed"


@pytest.mark.parametrize("stripped", [True, False], ids=["the proxy strips it", "the proxy passes it on"])
def test_every_link_keeps_the_prefix(engine: Engine, tmp_path: Path, *, stripped: bool) -> None:
    job = a_bit_of_everything(engine)
    prefix = "/ops/gq"
    with browsing(engine, tmp_path, prefix=prefix, stripped=stripped) as browser:
        signed = browser.sign_in()
        assert signed.headers["location"] == f"{prefix}/"
        assert f"Path={prefix}/" in signed.headers["set-cookie"]
        browser.client.cookies = {"genqueue": re.search(r"genqueue=([^;]+)", signed.headers["set-cookie"])[1]}  # type: ignore[index]
        for path in (*PAGES, f"/job/{job}"):
            answer = browser.get(path)
            assert answer.status_code in {200, 303}
            assert all(place.startswith(f"{prefix}/") for place in read(answer.text).places), path
        assert browser.get("/static/style.css").status_code == 200


def test_whoever_may_not_see_prompts_sees_and_searches_none(engine: Engine, tmp_path: Path) -> None:
    rows.add(engine, [rows.new_job("one", prompt="a secret harbour")])
    (job,) = rows.rows(engine, "SELECT id FROM job")
    with signed_in(engine, tmp_path, rights={Right.SEE}) as browser:
        for path in ("/batch?name=b", "/batch?name=b&q=secret", "/held", f"/job/{job.id}"):
            assert "secret harbour" not in browser.get(path).text
        assert "one" in browser.get("/batch?name=b").text
        assert f"/job/{job.id}" not in browser.get("/batch?name=b&q=secret").text
        assert browser.get(f"/thumbnail/{job.id}/0-{'a' * 64}.png").status_code == 403
    with signed_in(engine, tmp_path, rights=()) as browser:
        assert browser.get("/").status_code == 403


def test_the_live_part_is_a_part_of_its_page_and_open_to_nobody_else(engine: Engine, tmp_path: Path) -> None:
    a_bit_of_everything(engine)
    with browsing(engine, tmp_path) as browser:
        assert browser.get("/live?page=now&once=1").status_code == 403
        browser.sign_in()
        part = browser.get("/live?page=batch&name=h&once=1").text
        assert part.strip() in browser.get("/batch?name=h").text
        assert "<html" not in part
        assert browser.get("/live?page=money&once=1").status_code == 404


def test_what_is_not_there_is_a_page_of_its_own(engine: Engine, tmp_path: Path) -> None:
    with signed_in(engine, tmp_path) as browser:
        for path in ("/batch?name=none", "/batch", "/job/01900000-0000-7000-8000-000000000000", "/job/x", "/none",
                     f"/original/x/0-{'a' * 64}.png", "/thumbnail/x/../../etc", "/thumbnail/x/0-b.png"):  # fmt: skip
            assert browser.get(path).status_code == 404, path


def test_deliveries_of_a_webhook_are_shown_and_sent_again(
    engine: Engine, client: Client, database_url: str, tmp_path: Path
) -> None:
    with transaction(engine) as connection:
        endpoint = endpoints.add(connection, "https://example.com/<b>hook", ["webhook.test"])
        deliveries.add_test(connection, endpoint, delivery := new_id())
    rows.rows(engine, "UPDATE delivery SET ended_at = now(), due_at = NULL, tries = 3, status = 500, error = 'no'")
    settings = load(database_url=database_url)
    with signed_in(engine, tmp_path, settings=settings, rights={Right.SEE, Right.HOOKS}) as browser:
        page = browser.get(f"/webhooks?endpoint={endpoint}&failed=1").text
        assert len(browser.statements) <= 3
        assert "given up" in page
        assert "<b>hook" not in page
        assert f"what=replay&amp;back=%2Fwebhooks%3Fendpoint%3D{endpoint}" in page
        assert browser.act(what="replay", job=str(delivery)).status_code == 303
        assert "waits" in browser.get("/webhooks", endpoint=str(endpoint)).text
    assert client.audited(1)[0]["terms"] == f"replay {delivery}"
    with signed_in(engine, tmp_path, rights={Right.SEE}) as browser:
        assert browser.get("/webhooks").status_code == 403


def test_what_was_learned_of_a_models_times_is_shown(engine: Engine, tmp_path: Path) -> None:
    rows.register(engine, rows.account_row("bloom"))
    with transaction(engine) as connection:
        model_times.learn(connection, "bloom", {"pro": [(n, n + 1.0) for n in range(10)]})
    with signed_in(engine, tmp_path) as browser:
        assert "newest 10 jobs within 5.5 s, nine of ten within 9.0 s" in browser.get("/accounts").text


def names(engine: Engine, which: Filter, limit: int = 100, after: Any = None) -> tuple[list[str], Any]:
    with transaction(engine) as connection:
        head = batch_page.head(connection, "b")
        assert head is not None
        found = batch_page.jobs(connection, head.id, which, limit=limit, after=after)
    return [row["custom_id"] for row in found.jobs], found.after


def test_a_batch_is_searched_by_custom_id_prompt_state_and_reason(engine: Engine) -> None:
    rows.add(engine, [rows.new_job(f"row-{n}", prompt=f"a harbour {n % 2}") for n in range(6)])
    rows.rows(engine, "UPDATE job SET on_hold = true, error_code = 'x' WHERE custom_id = 'row-4'")
    assert names(engine, Filter())[0] == [f"row-{n}" for n in range(6)]
    assert names(engine, Filter(word="HARBOUR 1"))[0] == ["row-1", "row-3", "row-5"]
    assert names(engine, Filter(word="HARBOUR 1", in_prompts=False))[0] == []
    assert names(engine, Filter(word="row-2"))[0] == ["row-2"]
    assert names(engine, Filter(state="on_hold"))[0] == names(engine, Filter(code="x"))[0] == ["row-4"]
    assert names(engine, Filter(word="%"))[0] == []


def test_a_batch_is_searched_by_its_metadata(engine: Engine, client: Client) -> None:
    given = [
        {"provider": "bloom", "prompt": "x", "custom_id": f"row-{n}", "metadata": {"sku": n % 3}} for n in range(7)
    ]
    client.enqueue(given, batch="b")
    assert names(engine, Filter(word="sku=1", metadata=("sku", "1")))[0] == ["row-1", "row-4"]
    assert names(engine, Filter("succeeded", metadata=("sku", "1")))[0] == []
    first, after = names(engine, Filter(metadata=("sku", "0")), 2)
    assert (first, names(engine, Filter(metadata=("sku", "0")), 2, after)[0]) == (["row-0", "row-3"], ["row-6"])


@pytest.mark.usefixtures("older_names")
def test_a_batch_is_taken_away_as_csv_and_zip(
    engine: Engine, client: Client, runtime: Runtime, endpoints: Endpoints, tmp_path: Path
) -> None:
    client.enqueue([{"provider": "bloom", "prompt": "x", "n": 2, "custom_id": "=one/../two"}], batch="a/b")
    drain(runtime, ended(client, "a/b"))
    with signed_in(engine, tmp_path, storage=storage_of(endpoints)) as browser:
        answer = browser.get("/batch.csv?name=a/b")
        lines = list(csv.DictReader(answer.text.splitlines()))
        assert 'filename="a_b.csv"' in answer.headers["content-disposition"]
        assert [line["custom_id"] for line in lines] == ["=one/../two"] * 2
        whole = zipfile.ZipFile(io.BytesIO(browser.get("/batch.zip?name=a/b").content))
        assert whole.testzip() is None
        assert all("/" not in name for name in whole.namelist())
        found = {hashlib.sha256(whole.read(name)).hexdigest() for name in whole.namelist()}
        assert found == {line["sha256"] for line in lines}
        for path in ("/batch.csv?name=none", "/batch.zip?name=none"):
            assert browser.get(path).status_code == 404
    with signed_in(engine, tmp_path, rights={Right.SEE}) as browser:
        assert browser.get("/batch.csv?name=a/b").status_code == 403


def test_pages_of_a_batch_join_without_gap_or_double(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    rows.add(engine, [rows.new_job(f"row-{n}", prompt="odd" if n % 2 else "even") for n in range(7)])
    monkeypatch.setattr(batch_page, "LOOKED_AT", 3)
    for which, expected in ((Filter(), range(7)), (Filter(word="odd"), range(1, 7, 2)), (Filter(word="row"), range(7))):
        found, after = names(engine, which, 2)
        while after is not None:
            more, after = names(engine, which, 2, after)
            found += more
        assert found == [f"row-{n}" for n in expected]
    assert names(engine, Filter(word="row-6"), 2)[0] == ["row-6"], "an exact custom_id is found wherever it lies"


def test_a_held_job_is_shown_with_its_reason_and_the_worst_second_charge(engine: Engine, tmp_path: Path) -> None:
    (job,) = held.held(engine, account="getimg")
    with signed_in(engine, tmp_path) as browser:
        page = browser.get("/held").text
    assert "lost; unclear" in page
    assert "answer_lost" in page
    assert re.search(r"at most\s+<strong>2 USD</strong>", page)
    assert f"/act?what=resolve&amp;back=%2Fheld&amp;how=resend&amp;job={job}" in page
