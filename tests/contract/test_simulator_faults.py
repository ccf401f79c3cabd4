"""Every kind of fault as a client meets it, down to the bytes and flags on the socket."""

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from ops.simulator import Simulator, SimulatorConfig

Submission = Callable[..., dict[str, Any]]

# Cases with a flag or many columns are keyword-only, so that no call can mix the columns up.
_PATHS = {
    "bloom": "bloom/api/v1/images/generations",
    "getimg": "getimg/v2/images/generations",
    "openrouter": "openrouter/api/v1/images",
    "posteverywhere": "posteverywhere/api/v1/ai/generate-image",
    "banatie": "banatie/api/v1/generations",
}
_MODELS = {"getimg": "sim-photo", "openrouter": "sim/photo", "posteverywhere": "flux-schnell"}
_EVERY = pytest.mark.parametrize("provider", _PATHS)
_KEY = {"authorization": "Bearer sim-a", "x-api-key": "sim-a"}  # each provider looks at its own


def bills_what_is_lost(provider: str) -> bool:
    return provider != "openrouter"


def submit_body(provider: str, submission: Submission, prompt: str = "p") -> dict[str, Any]:
    if provider == "bloom":
        return submission(prompt)
    return {"prompt": prompt, **({"model": _MODELS[provider]} if provider in _MODELS else {})}


def submit_url(sim: Simulator, provider: str) -> str:
    return f"{sim.url}/{_PATHS[provider]}"


def post(web: httpx.Client, sim: Simulator, provider: str, body: dict[str, Any]) -> httpx.Response:
    return web.post(submit_url(sim, provider), json=body, headers=_KEY)


def raw_post(sim: Simulator, provider: str, body: dict[str, Any]) -> socket.socket:
    """Send a whole request over a plain socket and return it without reading."""
    parts, content = urlsplit(submit_url(sim, provider)), json.dumps(body).encode()
    connection = socket.create_connection((parts.hostname, parts.port), timeout=10)
    head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer sim-a\r\nx-api-key: sim-a\r\n"
    connection.sendall(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
    return connection


def download_url(web: httpx.Client, sim: Simulator) -> str:
    return str(post(web, sim, "getimg", {"model": "sim-photo", "prompt": "file"}).json()["data"][0]["url"])


def script(fault: Any, route: str = "submit", **line: Any) -> list[Any]:
    return [{"match": {"route": route}, "fault": fault, **line}]


@pytest.fixture(scope="module")
def _faulty(base_config: SimulatorConfig) -> Iterator[Simulator]:
    with Simulator(base_config).serve() as running:
        yield running


@pytest.fixture
def sim(_faulty: Simulator) -> Simulator:
    """A simulator without a past and without faults yet; started once, which is what takes the time."""
    _faulty.put_faults({})
    _faulty.reset()
    return _faulty


@_EVERY
@pytest.mark.parametrize(
    ("fault", "accepted"),
    [
        ("reply_lost", True),
        ("close_after_read", False),
        ({"kind": "close_after_read", "accepted": True}, True),
    ],
)
def test_a_closed_connection_ends_with_fin_after_the_whole_request_was_read(
    sim: Simulator, submission: Submission, *, provider: str, fault: Any, accepted: bool
) -> None:
    sim.put_faults(script(fault))
    with raw_post(sim, provider, submit_body(provider, submission)) as connection:
        assert connection.recv(1) == b""  # FIN: a clean end of stream
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    assert len(sim.bill()["lines"]) == (accepted and bills_what_is_lost(provider))
    assert sim.counters()["paid_posts"] == {provider: 1}


@_EVERY
@pytest.mark.parametrize("accepted", [False, True])
def test_a_reset_connection_ends_with_rst_after_the_whole_request_was_read(
    sim: Simulator, submission: Submission, *, provider: str, accepted: bool
) -> None:
    sim.put_faults(script({"kind": "reset_after_read", "accepted": accepted}))
    body = submit_body(provider, submission)
    with raw_post(sim, provider, body) as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)
    assert len(sim.bill()["lines"]) == (accepted and bills_what_is_lost(provider))
    assert sim.requests()[-1]["outcome"] == "reset_after_read"


@_EVERY
def test_the_server_reads_every_byte_before_it_cuts(sim: Simulator, submission: Submission, provider: str) -> None:
    sim.put_faults(script("reply_lost"))
    body = submit_body(provider, submission, "x" * 1900)
    with raw_post(sim, provider, body) as connection:
        connection.recv(1)
    logged = sim.requests()[-1]
    assert logged["hint"] == "x" * 60
    assert logged["paid"] == bills_what_is_lost(provider)
    assert [logged["submission_id"]] == ([line["submission_id"] for line in sim.bill()["lines"]] or [None])


@_EVERY
@pytest.mark.parametrize(
    ("fault", "status"),
    [("refuse_503", 503), ({"kind": "error_5xx", "status": 504}, 504), ("429", 429), ("402", 402)],
)
def test_a_refusal_has_the_providers_shape_and_costs_nothing(
    sim: Simulator, web: httpx.Client, submission: Submission, *, provider: str, fault: Any, status: int
) -> None:
    sim.put_faults(script(fault))
    reply = post(web, sim, provider, submit_body(provider, submission))
    error = reply.json() if provider == "bloom" else reply.json()["error"]
    assert (reply.status_code, reply.headers.get("retry-after")) == (status, None)
    assert {"code", "message"} <= set(error)
    assert ("action_url" in error.get("data", {})) == (provider == "bloom" and status == 402)
    assert sim.bill()["lines"] == []


@pytest.mark.parametrize("moment", [7, "Fri, 31 Dec 2027 23:59:59 GMT"])
def test_a_rate_limit_can_say_when_to_come_back(sim: Simulator, web: httpx.Client, moment: float | str) -> None:
    sim.put_faults(script({"kind": "429", "retry_after": moment}))
    reply = post(web, sim, "getimg", {"model": "sim-photo", "prompt": "p"})
    assert (reply.status_code, reply.headers["retry-after"]) == (429, str(moment))


@_EVERY
def test_a_server_error_can_come_after_the_request_was_accepted(
    sim: Simulator, web: httpx.Client, submission: Submission, provider: str
) -> None:
    sim.put_faults(script({"kind": "error_5xx", "status": 502, "accepted": True}))
    assert post(web, sim, provider, submit_body(provider, submission)).status_code == 502
    assert sim.counters()["accepted"] == ({provider: 1} if bills_what_is_lost(provider) else {})


def test_a_slow_reply_outlasts_a_clients_patience_and_is_billed(
    sim: Simulator, web: httpx.Client, submission: Submission
) -> None:
    sim.put_faults(script({"kind": "slow", "seconds": 2000}))
    with pytest.raises(httpx.ReadTimeout):
        web.post(
            submit_url(sim, "bloom"), json=submission(), headers={"x-api-key": "sim-a"}, timeout=httpx.Timeout(0.5)
        )
    assert sim.counters()["accepted"] == {"bloom": 1}


def test_a_dripping_download_arrives_a_byte_at_a_time(sim: Simulator, web: httpx.Client) -> None:
    url = download_url(web, sim)
    sim.put_faults(script({"kind": "drip", "seconds": 2}, "download"))
    with web.stream("GET", url) as reply:
        pieces = reply.iter_raw()
        next(pieces)  # may hold what came with the headers
        assert len(next(pieces)) < 5


@pytest.mark.parametrize("chunked", [False, True])
def test_a_truncated_body_ends_before_it_should(sim: Simulator, web: httpx.Client, *, chunked: bool) -> None:
    url = download_url(web, sim)
    sim.put_faults(script({"kind": "truncate", "chunked": chunked}, "download"))
    with web.stream("GET", url) as reply:
        assert ("content-length" in reply.headers) != chunked
        with pytest.raises(httpx.RemoteProtocolError):
            reply.read()
    assert web.get(url).status_code == 200


@pytest.mark.parametrize(
    ("fault", "content_type", "start_of_body"),
    [
        ("wrong_content", "text/html", b"<!doctype"),
        ({"kind": "wrong_content", "content_type": "application/json"}, "application/json", b'{"message"'),
        ("html_body", "image/jpeg", b"<!doctype"),
        ("empty_body", "image/jpeg", b""),
        ("not_utf8", "image/jpeg", b"\xff\xfe\x80"),
    ],
)
def test_a_download_may_be_no_picture_at_all(
    sim: Simulator, web: httpx.Client, fault: Any, content_type: str, start_of_body: bytes
) -> None:
    url = download_url(web, sim)
    sim.put_faults(script(fault, "download"))
    reply = web.get(url)
    assert (reply.status_code, reply.headers["content-type"]) == (200, content_type)
    assert reply.content.startswith(start_of_body)
    assert (reply.content == b"") == (fault == "empty_body")


def test_a_submit_reply_may_be_unreadable_although_accepted(
    sim: Simulator, web: httpx.Client, submission: Submission
) -> None:
    sim.put_faults(script("not_utf8"))
    reply = post(web, sim, "bloom", submission())
    with pytest.raises(UnicodeDecodeError):
        reply.content.decode()
    assert (reply.status_code, sim.counters()["accepted"]) == (202, {"bloom": 1})


@pytest.mark.parametrize("announced", [True, False])
def test_an_oversized_body_is_streamed(sim: Simulator, web: httpx.Client, *, announced: bool) -> None:
    url = download_url(web, sim)
    sim.put_faults(script({"kind": "oversize", "content_length": announced, "bytes": 3_000_001}, "download"))
    with web.stream("GET", url) as reply:
        assert reply.headers.get("content-length") == ("3000001" if announced else None)
        assert sum(map(len, reply.iter_raw())) == 3_000_001


def test_an_endless_body_goes_on_until_the_client_leaves(sim: Simulator, web: httpx.Client) -> None:
    url = download_url(web, sim)
    fault = {"kind": "oversize", "content_length": False, "bytes": None}
    sim.put_faults(script(fault, "download"))
    read = 0
    with web.stream("GET", url) as reply:
        for piece in reply.iter_raw():
            read += len(piece)
            if read > 5_000_000:
                break
    assert read > 5_000_000
    assert web.get(url).status_code == 200


def test_a_redirect_points_where_the_script_says(sim: Simulator, web: httpx.Client) -> None:
    url = download_url(web, sim)
    sim.put_faults(script({"kind": "redirect_to", "url": "http://169.254.169.254/"}, "download"))
    reply = web.get(url)
    assert (reply.status_code, reply.headers["location"]) == (302, "http://169.254.169.254/")


def test_early_expiry_kills_a_link_before_its_time(sim: Simulator, web: httpx.Client) -> None:
    url = download_url(web, sim)
    sim.put_faults(script("early_expiry", "download"))
    assert [web.get(url).status_code for _ in range(2)] == [403, 200]
    sim.put_faults(script("early_expiry"))
    assert web.get(download_url(web, sim)).status_code == 403


def test_a_failed_generation_is_billed_by_bloom_and_not_by_getimg(
    sim: Simulator, web: httpx.Client, submission: Submission
) -> None:
    sim.put_faults(script({"kind": "failed_generation", "reason": "content_safety"}, times=None))
    image_id = post(web, sim, "bloom", submission()).json()["data"]["ids"][0]
    image = web.get(f"{sim.bloom_url}/images/{image_id}?wait=1", headers={"x-api-key": "sim-a"}).json()["data"]
    sim.put_faults(script("failed_generation"))
    assert (image["status"], image["failureReason"]) == ("failed", "content_safety")
    assert post(web, sim, "getimg", {"model": "sim-photo", "prompt": "p"}).status_code == 500
    assert sim.counters()["accepted"] == {"bloom": 1}


@_EVERY
def test_a_lost_mark_loses_every_reply_and_lost_once_only_the_first(
    sim: Simulator, web: httpx.Client, submission: Submission, provider: str
) -> None:
    for mark, survivors in (("lost", 0), ("lost_once", 1)):
        arrived = 0
        for _ in range(2):
            try:
                arrived += post(web, sim, provider, submit_body(provider, submission, f"[sim:{mark}]")).is_success
            except httpx.RemoteProtocolError:
                continue
        assert arrived == survivors
    assert sim.counters()["paid_posts"] == {provider: 4}
    assert sim.counters()["accepted"] == {provider: 4 if bills_what_is_lost(provider) else 1}


def test_a_script_line_waits_then_strikes_its_number_of_times(
    sim: Simulator, web: httpx.Client, submission: Submission
) -> None:
    match = {"provider": "bloom", "route": "submit", "prompt_contains": "cat", "key": "sim-a"}
    sim.put_faults([{"match": match, "after": 1, "times": 2, "fault": "refuse_503"}])
    prompts = ("cat 1", "dog", "cat 2", "cat 3", "cat 4")
    assert [post(web, sim, "bloom", submission(p)).status_code for p in prompts] == [202, 202, 503, 503, 202]


def test_a_poll_and_a_list_are_different_routes(sim: Simulator, web: httpx.Client, submission: Submission) -> None:
    image_id = post(web, sim, "bloom", submission()).json()["data"]["ids"][0]
    sim.put_faults(script("refuse_503", "poll", times=None))
    headers = {"x-api-key": "sim-a"}
    paths = (f"images/{image_id}", f"images?ids={image_id}", "images")
    assert [web.get(f"{sim.bloom_url}/{p}", headers=headers).status_code for p in paths] == [503, 503, 200]
