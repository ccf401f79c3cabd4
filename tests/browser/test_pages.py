"""Every page in a real browser: no complaint in its console, none of axe, at both widths and in both themes."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from PIL import Image

from ops.dashboard.sessions import Right
from producer import Client
from shared.db import pauses
from shared.db.engine import Engine, transaction
from shared.db.lost_calls import candidates
from shared.db.lost_calls.candidates import Candidate
from tests.browser.conftest import Serve, Served, working
from tests.support import held, rows
from tests.support.outcome import ended
from tests.support.waiting import until
from worker.runtime import Runtime
from worker.transport.digested import InMemory

HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(2)> \u202e a harbour"
WINDOWS = [(width, theme) for width in (390, 1440) for theme in ("light", "dark")]


@pytest.fixture
def busy(engine: Engine, client: Client, runtime: Runtime, older_names: None) -> dict[str, str]:
    """A batch of every end and two held jobs; returns the pages by their names."""
    prompts = [HOSTILE, "[sim:moderated] no", "[sim:corrupt] cut", *(f"a harbour {n}" for n in range(6))]
    wanted: list[dict[str, Any]] = [{"provider": "bloom", "prompt": prompt, "n": 2} for prompt in prompts]
    client.enqueue(
        [*wanted, {"provider": "getimg", "model": "seedream-5-lite", "prompt": "x"}], batch="spring/<i>1</i>"
    )
    with working(runtime, ended(client, "spring/<i>1</i>")):
        pass
    (job, *_) = held.held(engine, 2, account="getimg", batch="lost")
    _compare(engine, runtime, job)
    with transaction(engine) as connection:
        pauses.pause(connection, "bloom", code="account_out_of_credit", reason="no credit", action_url=None)
    (failed,) = client.jobs("spring/<i>1</i>", state="failed", limit=1)
    batch = "/batch?name=spring%2F%3Ci%3E1%3C%2Fi%3E"
    return {
        "now": "/",
        "batches": "/batches",
        "batch": batch,
        "search": f"{batch}&q=harbour&state=succeeded",
        "failed-job": f"/job/{failed['id']}",
        "held-job": f"/job/{job}",
        "held": "/held",
        "act": f"/act?what=resolve&how=resend&job={job}&back=/held",
        "cap": f"/act?what=cap&batch=lost&provider=getimg&amount=3&back={batch}",
        "failures": "/failures",
        "money": "/money",
        "accounts": "/accounts",
        "webhooks": "/webhooks",
        "new": "/new",
        "nothing": "/job/none",
    }


def _compare(engine: Engine, runtime: Runtime, job: UUID) -> None:
    """Give a held job three candidates, the last one without a preview."""
    call = rows.rows(engine, "SELECT id FROM submission WHERE job_id = :job", job=job)[0].id
    found = [Candidate(f"img_{number}", datetime(2026, 5, 1, 12, number, tzinfo=UTC)) for number in range(3)]
    with transaction(engine) as connection:
        candidates.note(connection, "getimg", call, found)
        for one, colour in zip(found[:2], ("#7aa874", "#a8745f"), strict=True):
            file = io.BytesIO()
            Image.new("RGB", (320, 240), colour).save(file, "WEBP")
            key = candidates.preview_key("getimg", one.upstream_id)
            runtime.storage.put(key, InMemory(file.getvalue()), content_type="image/webp", metadata={})
            candidates.made(connection, "getimg", one.upstream_id, key)


@pytest.fixture
def served(serve: Serve) -> Iterator[Served]:
    with serve(prefix="/ops/gq", tokens={"viewer": frozenset({Right.SEE})}) as running:
        yield running


def test_no_page_has_a_fault_at_any_width_in_any_theme_under_a_prefix(
    busy: dict[str, str], served: Served, request: pytest.FixtureRequest
) -> None:
    shots = cast("Path | None", request.config.getoption("--screenshots"))
    faults = {}
    for width, theme in WINDOWS:
        viewer = served.viewer(width, theme)
        viewer.go("/sign-in")
        faults["sign-in", width, theme] = viewer.faults()
        viewer.sign_in()
        for name, path in busy.items():
            viewer.go(path)
            found = viewer.faults()
            viewer.complaints.clear()
            missing = "Failed to load resource: the server responded with a status of 404 (Not Found)"
            faults[name, width, theme] = [each for each in found if not (name == "nothing" and each == missing)]
            if shots is not None:
                viewer.page.screenshot(path=shots / f"{name}-{width}-{theme}.png", full_page=True)
    assert not {where: found for where, found in faults.items() if found}


def test_a_first_visit_loads_little_and_every_picture_is_a_thumbnail(busy: dict[str, str], served: Served) -> None:
    viewer = served.viewer()
    viewer.sign_in()
    loaded: list[tuple[str, int]] = []
    viewer.page.on("requestfinished", lambda each: loaded.append((each.url, each.sizes()["responseBodySize"])))
    viewer.go("/")
    first = list(loaded)
    viewer.go(busy["batch"])
    viewer.page.evaluate("document.querySelectorAll('img').forEach((one) => (one.loading = 'eager'))")
    shown = "document.images.length >= 12 && [...document.images].every((one) => one.complete)"
    until(lambda: viewer.page.evaluate(shown))
    assert sum(size for _, size in first) < 60_000
    assert viewer.page.evaluate("[...document.images].every((one) => one.naturalWidth > 0)")
    assert not [url for url, _ in loaded if "/original/" in url]
    assert all(url.startswith(served.url) for url, _ in loaded)


def test_hostile_text_is_text_and_a_viewer_sees_neither_prompts_nor_buttons(
    busy: dict[str, str], served: Served
) -> None:
    viewer = served.viewer()
    viewer.sign_in()
    viewer.go(busy["batch"])
    assert "<script>alert(1)</script>" in viewer.page.inner_text("main")
    assert "spring/<i>1</i>" in viewer.page.title()
    shy = served.viewer()
    shy.sign_in("viewer")
    for path in busy.values():
        shy.go(path)
        said = shy.page.inner_text("body")
        assert "alert(1)" not in said, path
        assert not shy.page.query_selector("main .acts a, main img"), path
    shy.go("/money")
    assert "may not see money" in shy.page.inner_text("main")
    gone = served.viewer()
    gone.go("/held")
    assert gone.page.url.endswith("/sign-in?next=%2Fheld")
    assert viewer.faults() == []


def test_a_keyboard_alone_signs_in_decides_a_held_job_and_signs_out(
    busy: dict[str, str], served: Served, client: Client, engine: Engine
) -> None:
    page = served.viewer().page
    page.goto(f"{served.url}{served.prefix}/held")
    # The browser gives it the focus unasked, some time after the page has loaded.
    page.wait_for_selector("#token:focus")
    page.keyboard.type("a-token-that-signs-in")
    page.keyboard.press("Enter")
    page.wait_for_url("**/held")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent").startswith("It was not bought"):
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/act?**")
    page.focus("[name=sure]")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/held")
    assert "1 in line again" in page.inner_text("[role=status]")
    assert client.totals("lost") == {"queued": 1, "in_doubt": 1}
    assert busy


def test_a_person_compares_candidates_and_takes_one(
    busy: dict[str, str], served: Served, client: Client, engine: Engine
) -> None:
    viewer = served.viewer(390)
    viewer.sign_in()
    page = viewer.page
    viewer.go("/held")
    page.click("text=img_1")
    page.click("text=It was bought, this is it…")
    page.wait_for_selector("text=Chosen: img_1.")
    assert viewer.faults() == []
    page.click("text=It was bought: collect it")
    page.wait_for_selector("text=the job is pending")
    (image,) = rows.rows(engine, "SELECT upstream_id, state FROM image WHERE account = 'getimg' AND state = 'pending'")
    assert image.upstream_id == "img_1"
    assert client.totals("lost") == {"pending": 1, "in_doubt": 1}
    assert busy


def test_a_person_gives_up_raises_a_cap_and_resumes_and_the_bill_agrees(
    busy: dict[str, str], served: Served, client: Client
) -> None:
    viewer = served.viewer(390, "dark")
    viewer.sign_in()
    page = viewer.page
    viewer.go(busy["held-job"])
    page.click("text=Give up…")
    page.fill("#charged", "0.25")
    page.click("text=Show again with this")
    page.click("form[method=post] button >> text=Give up")
    page.wait_for_selector("text=1 given up")
    viewer.go("/batch?name=lost")
    page.click("main table a >> text=set")
    page.fill("#amount", "12.5")
    page.click("text=Show again with this")
    page.check("[name=sure]")
    page.click("text=Set the cap")
    page.wait_for_selector("text=lost may spend 12.5 at getimg")
    viewer.go("/")
    page.click("text=Resume… >> nth=0")
    page.click("form[method=post] button >> text=Resume")
    page.wait_for_selector("text=bloom buys again")
    bill = {row["account"]: row for row in client.bill("lost")}
    assert (bill["getimg"]["settled"], bill["getimg"]["held"]) == (Decimal("0.25"), Decimal(2))
    assert [(row["act"], row["door"]) for row in client.audited(3)] == [
        ("resume", "dashboard"),
        ("cap", "dashboard"),
        ("resolve", "dashboard"),
    ]
    assert viewer.faults() == []


def test_a_file_is_chosen_its_faults_are_seen_then_it_is_sent(served: Served, client: Client, tmp_path: Path) -> None:
    file = tmp_path / "tram.csv"
    viewer = served.viewer(390)
    viewer.sign_in()
    page = viewer.page
    for text, expected in (("prompt,provider\nx,nobody\n", "1 fault"), ("prompt,provider\nx,bloom\n", "1 new job")):
        file.write_text(text)
        viewer.go("/new")
        page.set_input_files("#file", file)
        page.click("text=Show the plan")
        page.wait_for_selector(f"text={expected}")
        assert viewer.faults() == []
    page.click("text=Send 1 job")
    page.wait_for_selector("text=1 new jobs in tram")
    assert client.totals("tram") == {"queued": 1}
    assert viewer.faults() == []
