"""A page that is live: a batch is watched to its end without a reload, and many viewers cost no more than one."""

from collections.abc import Iterator

import pytest
from sqlalchemy import event

from producer import Client
from shared.db.engine import Engine
from tests.browser.conftest import Serve, Served, working
from tests.support.outcome import ended
from tests.support.waiting import until
from worker.runtime import Runtime

_LOOKS = 5


@pytest.fixture
def served(serve: Serve) -> Iterator[Served]:
    with serve() as running:
        yield running


def test_a_batch_of_300_is_watched_live_to_its_end(served: Served, client: Client, runtime: Runtime) -> None:
    client.enqueue([{"provider": "bloom", "prompt": f"a harbour {n}"} for n in range(300)], batch="b")
    viewer = served.viewer()
    viewer.sign_in()
    viewer.go("/batch?name=b")
    viewer.page.evaluate("window.loadedOnce = true")
    seen: set[str] = set()
    viewer.page.expose_function("seen", lambda said: seen.add(said))  # noqa: PLW0108 - a builtin cannot be exposed
    viewer.page.evaluate("""new MutationObserver(() => seen(document.querySelector('.headline strong').textContent))
      .observe(document.getElementById('live'), {childList: true})""")
    with working(runtime, ended(client)):
        until(lambda: viewer.page.inner_text(".headline").startswith("300 of 300"), 120)
    assert viewer.page.evaluate("window.loadedOnce")
    assert len(seen) > 2, "it was seen on its way, not only at its end"
    assert viewer.page.is_visible("text=Show new pictures")
    assert viewer.faults() == []


def test_what_a_person_opened_stays_open_while_the_page_is_live(
    served: Served, client: Client, runtime: Runtime
) -> None:
    client.enqueue([{"provider": "bloom", "prompt": "x"}], batch="b")
    with working(runtime, ended(client)):
        pass
    viewer = served.viewer()
    viewer.sign_in()
    viewer.go("/")
    viewer.page.click("#numbers summary")
    before = viewer.page.inner_text(".head .dim")
    until(lambda: viewer.page.inner_text(".head .dim") != before, 30)
    assert viewer.page.is_visible("#numbers table")
    assert viewer.page.evaluate("document.activeElement.id") == "numbers-head"
    assert viewer.faults() == []


def test_five_viewers_cause_no_more_statements_than_one(served: Served, client: Client, engine: Engine) -> None:
    client.enqueue([{"provider": "bloom", "prompt": "x"}], batch="b")
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    viewers = [served.viewer() for _ in range(5)]
    for viewer in viewers:
        viewer.sign_in()
    counts = []
    for few in (viewers[:1], viewers):
        for viewer in few:
            viewer.go("/batch?name=b")
        statements.clear()
        viewers[0].page.evaluate(
            f"new Promise((done) => {{ let n = 0; const s = new EventSource('/live?page=batch&name=b&q=none');"
            f"s.addEventListener('part', () => {{}}); setTimeout(() => {{ s.close(); done(); }}, {_LOOKS} * 1000); }})"
        )
        counts.append(len(statements))
    one, five = counts
    assert 0 < five <= one * 1.6 + 2
    assert all(viewer.complaints == [] for viewer in viewers)
