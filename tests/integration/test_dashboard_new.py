"""A new batch on the dashboard: every fault with its line, the cost before the yes, a sample, then the rest."""

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ops.dashboard.drafts import DraftError, Drafts, DraftTerms
from ops.dashboard.judging import judge
from ops.dashboard.sessions import EVERYTHING, Right
from producer import Client
from shared.db.engine import Engine
from shared.db.tokens import TokenTerms
from shared.settings import Settings, load
from shared.tokens import Scope
from tests.support.browsing import OWN, Browser, browsing, signed_in
from tests.support.workbooks import workbook

ROWS = "custom_id,provider,model,prompt\n" + "".join(f"r{n},getimg,seedream-5-lite,a harbour {n}\n" for n in range(8))


@pytest.fixture
def settings(database_url: str) -> Settings:
    return load(database_url=database_url)


@pytest.fixture
def browser(engine: Engine, settings: Settings, tmp_path: Path) -> Iterator[Browser]:
    with signed_in(engine, tmp_path, settings=settings) as opened:
        yield opened


def drop(browser: Browser, text: str | bytes, **fields: str) -> Any:
    """Send a file as the page's script does."""
    params = {"file": "spring.csv", **fields}
    headers = {**OWN, "Content-Type": "application/octet-stream"}
    return browser.client.post("/new", params=params, content=text, headers=headers, follow_redirects=False)


def test_a_workbook_is_planned_as_its_first_sheet_and_its_faults_name_its_rows(browser: Browser) -> None:
    head = ("provider", "model", "prompt")
    good = workbook({1: head, 4: ("getimg", "seedream-5-lite", "a harbour")})
    page = browser.get(drop(browser, good, file="spring.xlsx").headers["location"]).text
    assert "<strong>1</strong> new job for a new batch" in page
    assert "genqueue enqueue FILE.xlsx --batch spring" in page
    wrong = workbook({1: head, 4: ("nobody", "", "a harbour")})
    page = browser.get(drop(browser, wrong, file="spring.xlsx").headers["location"]).text
    assert "1 fault" in page
    assert ">4</" in page


def test_a_dropped_file_is_planned_then_sampled_then_sent_whole(browser: Browser, client: Client) -> None:
    answer = drop(browser, ROWS, caps="getimg=5")
    assert answer.status_code == 303
    place = answer.headers["location"]
    page = browser.get(place).text
    assert "<strong>8</strong> new jobs for a new batch" in page
    assert "genqueue enqueue FILE.csv --batch spring --max-cost getimg=5" in page
    assert not client.batches()
    sampled = browser.post(place, how="sample")
    assert sampled.headers["location"] == "/batch?name=spring"
    assert client.totals("spring") == {"queued": 5}
    assert re.search(rf'5 new jobs in spring <a href="{place}">', browser.get("/batch?name=spring").text)
    assert "<strong>3</strong> new jobs for this batch" in browser.get(place).text
    assert browser.post(place, how="all").status_code == 303
    assert client.totals("spring") == {"queued": 8}
    assert browser.get(place).status_code == 404, "what is sent is not kept"


def test_a_file_of_excel_on_windows_is_told_and_then_read_with_its_encoding_and_a_template(
    browser: Browser, client: Client
) -> None:
    text = "sku;prompt\n" + "".join(f"{n};Caf\u00e9 am Flu\u00df\n" for n in range(3))
    fields = {"provider": "bloom", "keep_columns": "yes", "custom_id": "{sku}-hero"}
    page = browser.get(drop(browser, text.encode("cp1252"), **fields).headers["location"]).text
    assert "1 fault; nothing was enqueued" in page
    assert "try cp1252 under &#39;Encoding&#39;" in page
    assert "--" not in re.sub(r"<!--.*?-->", "", page)
    place = drop(browser, text.encode("cp1252"), encoding="cp1252", **fields).headers["location"]
    assert "--custom-id" in browser.get(place).text
    assert "--encoding cp1252" in browser.get(place).text
    browser.post(place, how="all")
    assert [row["custom_id"] for row in client.jobs("spring")] == ["0-hero", "1-hero", "2-hero"]
    changed = drop(browser, text.replace("am", "im").encode("cp1252"), encoding="cp1252", **fields).headers["location"]
    assert "another batch name buys all rows again" in browser.post(changed, how="all").text


def test_columns_under_other_names_are_named_in_the_form(browser: Browser, client: Client) -> None:
    text, fields = "Titel,Bildformat\nein Hafen,16:9\n", {"provider": "bloom"}
    wrong = drop(browser, text, columns="format=Bildformat", **fields).headers["location"]
    assert "no column of ours is called &#39;format&#39;" in browser.get(wrong).text
    place = drop(browser, text, columns="prompt=Titel, aspect_ratio=Bildformat", **fields).headers["location"]
    assert "--column prompt=Titel --column aspect_ratio=Bildformat" in browser.get(place).text
    browser.post(place, how="all")
    assert client.totals("spring") == {"queued": 1}


def test_pasted_text_needs_no_script(browser: Browser, client: Client) -> None:
    answer = browser.post("/new", text="a harbour\na tram\n", format="txt", batch="pasted", provider="bloom")
    assert browser.post(answer.headers["location"], how="all").status_code == 303
    assert client.totals("pasted") == {"queued": 2}
    own = browser.post("/new", text='{"prompt": "x", "sku": "1"}', format="jsonl", batch="own", provider="bloom",
                       keep_columns="yes")  # fmt: skip
    assert browser.post(own.headers["location"], how="all").status_code == 303


def test_each_fault_is_shown_with_its_line_and_hostile_cells_stay_text(browser: Browser, client: Client) -> None:
    answer = drop(browser, "prompt,provider,size\nok,bloom,\n<img src=x>,<b>nobody</b>,\n")
    page = browser.get(answer.headers["location"]).text
    assert "1 fault; nothing was enqueued" in page
    assert re.search(r'<td class="n" data-label="line">3</td><th scope="row">provider</th>', page)
    assert "<b>nobody" not in page
    assert browser.post(answer.headers["location"], how="all").status_code == 409
    assert not client.batches()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"text": " ", "batch": "b", "format": "txt"}, "choose a file"),
        ({"text": "x", "format": "txt"}, "name the batch"),
        ({"text": "x", "batch": "b"}, "say how to read the file"),
    ],
)
def test_a_form_without_what_it_needs_is_shown_again(browser: Browser, fields: dict[str, str], said: str) -> None:
    answer = browser.post("/new", None, **fields)
    assert answer.status_code == 400
    assert said in answer.text


@pytest.mark.parametrize("fields", [{"caps": "getimg=much"}, {"prompt": "{"}, {"provider": "nobody"}])
def test_wrong_options_are_told_on_the_plans_page(browser: Browser, client: Client, fields: dict[str, str]) -> None:
    answer = drop(browser, "prompt\nx\n", **fields)
    if answer.status_code == 303:
        answer = browser.get(answer.headers["location"])
    assert 'role="alert"' in answer.text
    assert not client.batches()


def test_a_file_may_not_name_files_of_this_machine(browser: Browser, client: Client, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    answer = drop(browser, f"prompt,provider,references\nx,openrouter,{secret}\n")
    assert "fault" in browser.get(answer.headers["location"]).text


def test_only_who_may_add_jobs_does_and_nobody_sees_the_files_of_others(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    with signed_in(engine, tmp_path, settings=settings, rights=EVERYTHING - {Right.ENQUEUE}) as browser:
        assert browser.get("/new").status_code == 403
        assert drop(browser, ROWS).status_code == 403
    with signed_in(engine, tmp_path, settings=settings, rights=EVERYTHING - {Right.SPEND}) as browser:
        assert drop(browser, ROWS, on_unknown="resend").status_code == 403
    with signed_in(engine, tmp_path, settings=settings) as browser:
        place = drop(browser, ROWS).headers["location"]
        browser.sign_in()
        assert browser.get(place).status_code == 404
        assert len(list((tmp_path / "drafts").iterdir())) == 1
    assert not list((tmp_path / "drafts").iterdir()), "nothing stays when the dashboard ends"


def test_new_jobs_count_against_the_cap_of_the_token(
    engine: Engine, settings: Settings, client: Client, tmp_path: Path
) -> None:
    terms = TokenTerms(
        "few", frozenset({Scope.JOBS_WRITE, Scope.JOBS_READ}), {"bloom": Decimal(1)}, "", 60, timedelta(1)
    )
    token = client.create_token(terms)[1].get_secret_value()
    with browsing(engine, tmp_path, settings=settings, judge=judge(engine, "the-dashboards-own-token")) as browser:
        browser.sign_in(token)
        place = drop(browser, "prompt,provider\na,bloom\nb,bloom\nc,bloom\n").headers["location"]
        refused = browser.post(place, how="all")
    assert refused.status_code == 409
    assert not client.batches() or client.totals("spring") == {}


def test_drafts_end_after_half_an_hour_and_are_few(tmp_path: Path) -> None:
    now = [0.0]
    drafts = Drafts(tmp_path, clock=lambda: now[0])
    for _ in range(32):
        named, file = drafts.open_file()
        drafts.keep(named, "me", file, DraftTerms(batch="b"))
    with pytest.raises(DraftError, match="too many"):
        drafts.open_file()
    now[0] = 1800.0
    assert drafts.find(named, "me") is None
    assert not list(tmp_path.iterdir())
    drafts.open_file()
