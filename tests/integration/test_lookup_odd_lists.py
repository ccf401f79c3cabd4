"""Look-ups at providers whose lists say odd things for a moment: nothing that was bought is bought again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from ops.stack import Endpoints
from producer import Client
from shared.db.engine import Engine
from tests.integration.test_costs import picture, working
from tests.support import rows
from tests.support.drain import BRAND, drain
from tests.support.http_stub import Stub, provider
from tests.support.lost import no_look_up
from tests.support.outcome import ended
from tests.support.sweeping import search_now
from worker.runtime import Runtime

AN_END: Final = {"nextCursor": None, "hasMore": False}


@dataclass
class Purchase:
    name: str
    prompt: str
    made_at: datetime
    meta: Any = None


@dataclass
class Shop:
    """A provider of one account: `answer` says what a POST is answered with, `shown` what its list shows."""

    stub: Stub
    bought: list[Purchase] = field(default_factory=list)
    pagination: dict[str, Any] = field(default_factory=lambda: AN_END)
    hidden: set[str] = field(default_factory=set)
    strangers: int = 0
    counts: tuple[int, ...] = ()
    """How many pictures each POST buys; further ones buy one."""
    named: dict[int, int] = field(default_factory=dict)
    """How many ids the answer to a POST names, where that is not all; -1 = it is an error."""
    spell: Callable[[str], str] = str
    """How the list spells an id."""
    said: dict[str, Any] = field(default_factory=dict)
    """What each row says besides."""
    others: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """The ids that the answer to a POST names besides its own."""
    posts: int = 0

    @property
    def visible(self) -> list[Purchase]:
        return [one for one in reversed(self.bought) if one.name not in self.hidden]

    def submit(self, body: dict[str, Any]) -> Any:
        post, self.posts = self.posts, self.posts + 1
        count = self.counts[post] if post < len(self.counts) else 1
        first = len(self.bought)
        made = [Purchase(f"I{first + n}", body["prompt"], datetime.now(UTC), body.get("meta")) for n in range(count)]
        self.bought += made
        named = self.named.get(post, count)
        if named < 0:
            return (500, {})
        ids = [*self.others.get(post, ()), *(one.name for one in made[:named])]
        return (202, {"data": {"ids": ids, "status": "pending"}})

    def listing(self, _body: Any) -> Any:
        images = [self.row(one) for one in self.visible]
        other = Purchase("s", "a tram in the fog", datetime.now(UTC))
        strangers = [{**self.row(other), "id": f"s{number}"} for number in range(self.strangers)]
        return {"data": {"images": [*strangers, *images][:100], **self.pagination}}

    def row(self, one: Purchase) -> dict[str, Any]:
        link = f"{self.stub.url}/pic?{one.name}"
        made = one.made_at.isoformat()
        return {
            "id": self.spell(one.name),
            "prompt": one.prompt,
            "status": "completed",
            "createdAt": made,
            "imageUrl": link,
            **self.said,
        }

    def one(self, name: str) -> Callable[[Any], Any]:
        def look(_body: Any) -> Any:
            found = [self.row(one) for one in self.visible if one.name == name]
            return {"data": found[0]} if found else (404, {"code": "IMAGE_NOT_FOUND", "status": 404, "message": "none"})

        return look


@contextmanager
def bloom(database_url: str, endpoints: Endpoints, **more: Any) -> Iterator[tuple[Shop, Client, Runtime]]:
    with provider({}) as stub:
        shop = Shop(stub, **more)
        stub.routes |= {"GET /pic": picture(), "GET /credits": {"data": {"balance": 100}}}
        stub.routes |= {"POST /images/generations": shop.submit, "GET /images": shop.listing}
        stub.routes |= {f"GET /images/{shop.spell(f'I{n}')}": shop.one(f"I{n}") for n in range(8)}
        stub.routes |= {f"GET /images/I{n}": shop.one(f"I{n}") for n in range(8)}
        with working(stub, "bloom", database_url, endpoints, brand_session_id=BRAND) as (client, runtime):
            yield shop, client, runtime


def buy(client: Client, runtime: Runtime, prompt: str, **more: Any) -> None:
    """Buy what one job asks for, in a batch of that name; nobody looks lost calls up meanwhile."""
    client.enqueue([{"provider": "bloom", "prompt": prompt, **more}], batch=prompt)
    drain(runtime, ended(client, prompt), seen=no_look_up)


def lose(client: Client, runtime: Runtime, provider_name: str = "bloom", prompt: str = "a harbour") -> None:
    wanted = [{"provider": provider_name, "prompt": prompt, "custom_id": "lost"}]
    client.enqueue(wanted, batch="b", on_unknown="resend")
    drain(runtime, lambda: client.totals("b") == {"checking": 1}, seen=no_look_up)


def look_now(client: Client, runtime: Runtime, engine: Engine) -> None:
    runtime.looked.clear()  # a reading of a moment ago serves again, and the provider says something else by now
    rows.rows(engine, "UPDATE job SET claimed_by = NULL, due_at = now() WHERE state = 'in_doubt'")
    drain(runtime, ended(client))


def reason(client: Client) -> str:
    return str(client.jobs("b")[0]["error"])


UNREADABLE: Final = {
    "a number for a cursor, text for a flag": {"nextCursor": 1234567, "hasMore": "true"},
    "a number for a flag": {"nextCursor": None, "hasMore": 1},
    "nothing": {},
    "another spelling": {"next_cursor": "abc", "has_more": True},
    "only the cursor": {"nextCursor": None},
    "text for a flag": {"nextCursor": None, "hasMore": "false"},
}


@pytest.mark.parametrize("said", UNREADABLE.values(), ids=UNREADABLE)
def test_a_list_whose_end_cannot_be_read_proves_nothing(
    said: dict[str, Any], database_url: str, endpoints: Endpoints, engine: Engine
) -> None:
    """The lost call's picture is on the next page, and nothing else of ours is near it."""
    with bloom(database_url, endpoints, named={0: -1}, pagination=said, strangers=99) as (shop, client, runtime):
        lose(client, runtime)
        rows.rows(engine, "UPDATE submission SET opened_at = opened_at - interval '1 hour'")
        rows.rows(engine, "UPDATE submission SET visible_by = now() - interval '50 minutes'")
        shop.bought[0].made_at -= timedelta(hours=1)
        buy(client, runtime, "later")
        look_now(client, runtime, engine)
        assert client.totals("b") == {"in_doubt": 1}
        assert shop.posts == 2


@pytest.mark.parametrize("before", [None, "20 minutes", "3 days"], ids=["first", "just before", "days before"])
def test_a_list_of_the_last_half_hour_that_calls_itself_whole_proves_nothing_of_an_older_call(
    before: str | None, database_url: str, endpoints: Endpoints, engine: Engine
) -> None:
    with bloom(database_url, endpoints, named={bool(before): -1}) as (shop, client, runtime):
        if before:
            buy(client, runtime, "older")
            older = "UPDATE submission SET (opened_at, answered_at) = (opened_at - :ago, answered_at - :ago)"
            rows.rows(engine, older.replace(":ago", f"interval '1 hour {before}'"))
        lose(client, runtime)
        rows.rows(engine, "UPDATE submission SET visible_by = now() - interval '50 minutes' WHERE outcome = 'unknown'")
        rows.rows(engine, "UPDATE submission SET opened_at = now() - interval '1 hour' WHERE outcome = 'unknown'")
        shop.hidden |= {one.name for one in shop.bought}
        buy(client, runtime, "later")
        look_now(client, runtime, engine)
        assert client.totals("b") == {"in_doubt": 1}
        assert "nothing from before it" in reason(client)
        assert sum(one.prompt == "a harbour" for one in shop.bought) == 1


def test_a_404_of_a_moment_for_a_neighbour_that_the_list_hides_too_proves_nothing(
    database_url: str, endpoints: Endpoints, engine: Engine
) -> None:
    """A provider that restarts hides for a moment what is older, from its list and from single looks."""
    with bloom(database_url, endpoints, named={1: -1}) as (shop, client, runtime):
        buy(client, runtime, "near")
        lose(client, runtime)
        shop.hidden |= {"I0", "I1"}
        buy(client, runtime, "later")
        look_now(client, runtime, engine)
        assert client.totals("b") == {"in_doubt": 1}
        assert "nor 1 purchases of ours near it" in reason(client)
        shop.hidden.clear()
        look_now(client, runtime, engine)
        drain(runtime, lambda: client.totals("b") == {"succeeded": 1})
        assert shop.posts == 3


def test_a_neighbour_that_its_job_has_given_up_as_gone_need_not_be_in_the_list(
    database_url: str, endpoints: Endpoints, engine: Engine
) -> None:
    with bloom(database_url, endpoints, counts=(1, 0), named={1: -1}) as (shop, client, runtime):
        buy(client, runtime, "near")
        rows.rows(engine, "UPDATE image SET state = 'failed', error_code = 'upstream_gone'")
        shop.hidden |= {"I0"}
        lose(client, runtime)
        buy(client, runtime, "later")
        rows.rows(engine, "UPDATE job SET claimed_by = NULL, due_at = now() WHERE state = 'in_doubt'")
        drain(runtime, lambda: client.totals("b") == {"succeeded": 1})
        assert shop.posts == 4


def test_an_id_in_another_case_has_the_owner_that_it_has_in_the_answers(
    database_url: str, endpoints: Endpoints, engine: Engine
) -> None:
    with bloom(database_url, endpoints, counts=(1, 0), named={1: -1}, spell=str.lower) as (shop, client, runtime):
        buy(client, runtime, "a harbour")
        lose(client, runtime)
        look_now(client, runtime, engine)
        assert client.totals("b") == {"in_doubt": 1}
        assert [row.upstream_id for row in rows.rows(engine, "SELECT upstream_id FROM image")] == ["I0"]
        assert sum(line["settled"] for line in client.bill()) <= len(shop.bought)


def test_a_picture_that_an_answer_left_out_is_not_what_a_lost_call_of_that_prompt_bought(
    database_url: str, endpoints: Endpoints, engine: Engine
) -> None:
    """Its own call is settled for two pictures and named one: a lost call that took the other would settle it again."""
    with bloom(database_url, endpoints, counts=(2, 0), named={0: 1, 1: -1}) as (shop, client, runtime):
        buy(client, runtime, "a harbour", n=2)
        lose(client, runtime)
        rows.rows(engine, "UPDATE submission SET opened_at = opened_at - interval '1 minute' WHERE outcome = 'unknown'")
        buy(client, runtime, "later")
        look_now(client, runtime, engine)
        assert client.totals("b") == {"in_doubt": 1}
        assert "I1" not in {row.upstream_id for row in rows.rows(engine, "SELECT upstream_id FROM image")}
        assert shop.posts == 3


@pytest.mark.parametrize(
    ("brand", "totals"),
    [(BRAND, {"succeeded": 1}), ("99999999-9999-4999-8999-999999999999", {"in_doubt": 1})],
    ids=["ours", "another"],
)
def test_a_strangers_picture_for_another_brand_is_not_taken_for_ours(
    brand: str, totals: dict[str, int], database_url: str, endpoints: Endpoints, engine: Engine
) -> None:
    said = {"brandSessionId": brand, "aspectRatio": "1:1"}
    with bloom(database_url, endpoints, named={0: -1}, said=said) as (shop, client, runtime):
        lose(client, runtime)
        buy(client, runtime, "later")
        look_now(client, runtime, engine)
        assert client.totals("b") == totals
        assert shop.posts == 2


ODD_LOOKS: Final = {
    "404": (404, {"success": False, "error": {"code": "GENERATION_NOT_FOUND", "message": "no"}}),
    "no data": {"success": True, "data": None},
    "a list": {"success": True, "data": [{"id": "g0"}]},
    "another generation": {"success": True, "data": {"id": "g7", "status": "success", "meta": {}}},
    "no meta": {"success": True, "data": {"id": "g0", "status": "processing", "meta": None}},
}


@pytest.mark.parametrize("once", ODD_LOOKS.values(), ids=ODD_LOOKS)
def test_a_listed_row_stays_a_row_whatever_its_own_look_says_for_a_moment(
    once: Any, database_url: str, endpoints: Endpoints, engine: Engine
) -> None:
    looked = list[int]()
    with provider({}) as stub:
        shop = Shop(stub)

        def generation(number: int, *, meta: bool) -> dict[str, Any]:
            one = shop.bought[number]
            made = {"id": f"g{number}", "originalPrompt": one.prompt, "createdAt": one.made_at.isoformat()}
            whole = {"meta": one.meta, "outputImage": {"storageUrl": f"{stub.url}/pic"}} if meta else {}
            return {**made, "status": "success", "outputImageId": "x", **whole}

        def submit(body: dict[str, Any]) -> Any:
            shop.submit(body)
            number = len(shop.bought) - 1
            return (201, {"success": True, "data": generation(number, meta=True)}) if number else (500, {})

        def listing(_body: Any) -> Any:
            found = [generation(number, meta=False) for number in reversed(range(len(shop.bought)))]
            return {"success": True, "data": found, "pagination": {"total": len(found), "hasMore": False}}

        def look(number: int) -> Any:
            looked.append(number)
            return once if looked == [0] else {"success": True, "data": generation(number, meta=True)}

        stub.routes |= {"GET /pic": picture(), "POST /api/v1/generations": submit, "GET /api/v1/generations": listing}
        stub.routes |= {f"GET /api/v1/generations/g{n}": lambda _body, n=n: look(n) for n in range(4)}
        with working(stub, "banatie", database_url, endpoints, limits="none") as (client, runtime):
            lose(client, runtime, "banatie")
            client.enqueue([{"provider": "banatie", "prompt": "later"}], batch="later")
            drain(runtime, ended(client, "later"), seen=no_look_up)
            look_now(client, runtime, engine)
            assert shop.posts == 2
            look_now(client, runtime, engine)
            drain(runtime, lambda: client.totals("b") == {"succeeded": 1})
            assert shop.posts == 2


def test_what_was_deleted_at_banatie_is_not_taken_for_never_bought(
    database_url: str, endpoints: Endpoints, engine: Engine
) -> None:
    """Its list leaves deleted rows out unless it is asked for them; their own requests say that there are none."""
    made: list[dict[str, Any]] = []
    with provider({}) as stub:

        def submit(body: dict[str, Any]) -> Any:
            when = datetime.now(UTC).isoformat()
            row = {"id": f"g{len(made)}", "originalPrompt": body["prompt"], "createdAt": when, "status": "success"}
            made.append({**row, "deleted": not made})
            link = {"outputImage": {"storageUrl": f"{stub.url}/pic"}}
            return (500, {}) if len(made) == 1 else (201, {"data": {**row, **link, "meta": body["meta"]}})

        def listing(_body: Any) -> Any:
            shown = [row for row in reversed(made) if not row["deleted"] or "includeDeleted=true" in stub.asked[-1]]
            return {"success": True, "data": shown, "pagination": {"total": len(shown), "hasMore": False}}

        stub.routes |= {"GET /pic": picture(), "POST /api/v1/generations": submit, "GET /api/v1/generations": listing}
        stub.routes |= {f"GET /api/v1/generations/g{n}": ODD_LOOKS["404"] for n in range(2)}
        with working(stub, "banatie", database_url, endpoints, limits="none") as (client, runtime):
            lose(client, runtime, "banatie")
            client.enqueue([{"provider": "banatie", "prompt": "later"}], batch="later")
            drain(runtime, ended(client, "later"), seen=no_look_up)
            look_now(client, runtime, engine)
            assert client.totals("b") == {"in_doubt": 1}
            assert len(made) == 2


@pytest.mark.parametrize("states", [("success", "failed"), ("failed", "success"), ("success", "success")])
def test_of_two_generations_of_one_call_the_one_that_did_not_fail_is_its_picture(
    states: tuple[str, str], database_url: str, endpoints: Endpoints, engine: Engine
) -> None:
    """A gateway of Banatie's may repeat a request; both generations carry the call's reference."""
    made: list[dict[str, Any]] = []
    with provider({}) as stub:

        def submit(body: dict[str, Any]) -> Any:
            for state in states:
                when, link = (
                    datetime.now(UTC).isoformat(),
                    {"outputImage": {"storageUrl": f"{stub.url}/pic{len(made)}"}},
                )
                row = {"id": f"g{len(made)}", "createdAt": when, "status": state, "meta": body["meta"]}
                made.append(row | (link if state == "success" else {}))
            return (500, {})

        def look(number: int) -> Any:
            return {"success": True, "data": made[number]}

        def listing(_body: Any) -> Any:
            return {"success": True, "data": made[::-1], "pagination": {"total": len(made), "hasMore": False}}

        stub.routes |= {"POST /api/v1/generations": submit, "GET /api/v1/generations": listing}
        stub.routes |= {f"GET /pic{n}": picture() for n in range(2)}
        stub.routes |= {f"GET /api/v1/generations/g{n}": lambda _body, n=n: look(n) for n in range(2)}
        with working(stub, "banatie", database_url, endpoints, limits="none") as (client, runtime):
            lose(client, runtime, "banatie")
            look_now(client, runtime, engine)
            assert client.totals("b") == {"succeeded": 1}
            images = rows.rows(engine, "SELECT index, state FROM image ORDER BY index")
            assert [one.state for one in images] == ["stored", "failed" if "failed" in states else "stored"]
            assert client.unowned() == []


@pytest.mark.parametrize("said", [AN_END, *UNREADABLE.values()])
def test_a_search_of_a_list_whose_end_cannot_be_read_begins_at_the_same_place_the_next_time(
    said: dict[str, Any], database_url: str, endpoints: Endpoints, engine: Engine
) -> None:
    with bloom(database_url, endpoints, pagination=said) as (shop, client, runtime):
        buy(client, runtime, "first")
        rows.rows(engine, "UPDATE submission SET opened_at = opened_at - interval '1 hour'")
        search_now(runtime, engine, "bloom")
        (account,) = rows.rows(engine, "SELECT swept_until FROM account")
        assert (account.swept_until is not None) is (said is AN_END)
        assert shop.posts == 1


def test_a_picture_that_the_next_answer_names_beside_its_own_may_be_the_lost_calls(
    database_url: str, endpoints: Endpoints, engine: Engine
) -> None:
    """The next job collects it as an additional picture, and so it has an owner."""
    with bloom(database_url, endpoints, named={1: -1}, others={2: ("I1",)}) as (shop, client, runtime):
        buy(client, runtime, "a bridge")
        lose(client, runtime)
        buy(client, runtime, "a tram")
        buy(client, runtime, "a lighthouse")
        look_now(client, runtime, engine)
        assert "another call's answer named" in reason(client)
        assert (client.totals("b"), shop.posts) == ({"in_doubt": 1}, 4)
