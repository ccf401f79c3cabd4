"""OpenRouter's kept answers: one odd field, a compression nobody asked for or a bad end must not lose what is paid."""

import base64
import gzip
import json
import subprocess
import sys
import zlib
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from shared.lifecycle import ImageState, Outcome
from tests.support.canned_wire import Canned, reply, submitted, verdict, wire
from worker import event_loop
from worker.providers.contract import Accepted, PaidCall, RetryRule
from worker.providers.reading import UnreadableError
from worker.providers.receipt import kept
from worker.transport.paid_post import Lost, NotSent, PaidReply
from worker.transport.spool import Spool, TooLarge

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 3
MAYBE = (Outcome.UNKNOWN, RetryRule.AFTER, "answer_unreadable")


def encoded(content: bytes = PNG) -> str:
    return base64.b64encode(content).decode()


def answer(*items: Any, **changes: Any) -> bytes:
    data = list(items) or [{"b64_json": encoded(), "media_type": "image/png"}]
    return json.dumps({"created": 1, "data": data, "usage": {"cost": 0.04}, **changes}).encode()


def extracted(body: bytes, index: int = 0) -> bytes:
    taken = BytesIO()
    wire("openrouter", None).extract(BytesIO(body), index, taken)
    return taken.getvalue()


def test_an_answer_says_how_many_images_it_has_what_they_cost_and_what_it_is_called() -> None:
    body = answer({"b64_json": encoded(b"one")}, {"b64_json": encoded(b"two")})
    accepted = submitted("openrouter", reply(200, body, {"X-Generation-Id": "gen-1"}))
    assert isinstance(accepted, Accepted)
    assert (accepted.http_status, accepted.upstream_id, accepted.settled) == (200, "gen-1", Decimal("0.04"))
    assert [image.state for image in accepted.images] == [ImageState.READY] * 2
    assert [extracted(body, index) for index in range(2)] == [b"one", b"two"]


@pytest.mark.parametrize("name", ["", " ", "x" * 201, "a\u0085b"])
def test_an_odd_generation_id_does_not_lose_the_images(name: str) -> None:
    headers: Any = {"X-Generation-Id": name.encode("latin-1")}
    assert submitted("openrouter", reply(200, answer(), headers)).upstream_id is None
    assert submitted("openrouter", reply(200, answer())).upstream_id is None


@pytest.mark.parametrize(
    ("usage", "settled"),
    [
        (b'{"cost": 0.038765432100000000000000000001}', Decimal("0.038765432100000000000000000001")),
        (b'{"cost": 12345678.0123456789012345678901}', Decimal("12345678.0123456789012345678901")),
        (b'{"cost": "0.040"}', Decimal("0.040")),
        (b'{"cost": 0}', Decimal(0)),
        (b'{"cost": 1e2}', Decimal(100)),
        (b'{"cost": 1e999999999}', None),
        (b'{"cost": 1e-999999999}', None),
        (b'{"cost": -1}', None),
        (b'{"cost": true}', None),
        (b'{"cost": null}', None),
        (b'{"cost": {"usd": 1}}', None),
        (b'{"total_tokens": 4}', None),
        (b"{}", None),
        (b"[]", None),
        (b"null", None),
    ],
)
def test_the_cost_is_exact_or_left_out_and_never_loses_the_images(usage: bytes, settled: Decimal | None) -> None:
    body = b'{"usage": %s, "data": [{"b64_json": "QUFB"}]}' % usage
    accepted = submitted("openrouter", reply(200, body))
    assert (len(accepted.images), accepted.settled) == (1, settled)
    without = submitted("openrouter", reply(200, b'{"data": [{"b64_json": "QUFB"}]}'))
    assert (len(without.images), without.settled) == (1, None)


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_an_answer_compressed_unasked_is_read_as_it_was_kept(compress: Any) -> None:
    body = compress(answer({"b64_json": encoded(bytes(3_000_000))}, {"b64_json": encoded(b"two")}))
    accepted = submitted("openrouter", reply(200, body, {"content-encoding": "gzip"}))
    assert (len(accepted.images), accepted.settled) == (2, Decimal("0.04"))
    assert extracted(body, 0) == bytes(3_000_000)
    assert extracted(body, 1) == b"two"


def test_the_whole_images_of_an_answer_that_broke_off_are_bought_and_a_broken_one_is_not() -> None:
    body = answer({"b64_json": encoded(b"one")}, {"b64_json": encoded(b"two!")})
    assert submitted("openrouter", Lost("cut", 200, body)).cut is False
    for end, images, settled in (
        (body.rindex(b"}"), 2, Decimal("0.04")),
        (body.rindex(b"0.04") + 3, 2, None),  # a number that may have gone on
        (body.rindex(b'"usage"'), 2, None),
        (body.rindex(b'"}]'), 1, None),
        (body.rindex(b'{"b64_json"'), 1, None),
    ):
        found = submitted("openrouter", Lost("cut", 200, body[:end]))
        assert (len(found.images), found.settled, found.cut, found.whole) == (images, settled, True, False), end
        assert extracted(body[:end]) == b"one"
    assert verdict(submitted("openrouter", Lost("cut", 200, body[: body.index(b'"}, {')]))) == MAYBE
    packed = gzip.compress(body)
    assert len(submitted("openrouter", Lost("cut", 200, packed[:-8])).images) == 2  # the checksum is missing
    assert verdict(submitted("openrouter", Lost("cut", 200, packed[:20]))) == MAYBE
    assert len(submitted("openrouter", Lost("cut", 500, body)).images) == 2
    assert verdict(submitted("openrouter", Lost("cut", 500, answer({"b64_json": ""})))) == (
        MAYBE[0],
        MAYBE[1],
        "charge_stated",
    )
    assert verdict(submitted("openrouter", Lost("cut"))) == (Outcome.UNKNOWN, RetryRule.AFTER, "answer_lost")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"\x1f\x8bnot gzip",
        b'{"data": []}',
        b'{"data": [{"b64_json": ""}, {"b64_json": null}, {"url": "https://x.example/a"}]}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        gzip.compress(b"[" * 1_000_000, mtime=0),
        b'{"note": "\\"b64_json\\": \\"QUFB\\""}',
        *(answer()[:cut] for cut in (1, 20, 60, 700)),
    ],
    ids=lambda body: repr(body[:40]),
)
def test_an_answer_without_a_whole_image_may_have_been_bought(body: bytes) -> None:
    assert verdict(submitted("openrouter", reply(200, body))) == MAYBE


def odd(extra: bytes) -> bytes:
    return b'{"created": 1, ' + extra + b', "data": [{"b64_json": "%s", ' % encoded().encode() + extra + b"}], "


@pytest.mark.parametrize(
    "extra",
    [
        b'"x": NaN, "y": -Infinity, "z": undefined',
        b'"x": "' + b"long " * 2_000_000 + b'"',
        b'"' + b"long " * 2_000_000 + b'": 1',
        b'"x": ' + b"9" * 2_000_000,
        b'"x": ' + b"[" * 300_000 + b"]" * 300_000,
        b'"x": ' + b'{"a":' * 300_000 + b"1" + b"}" * 300_000,
        b'"x": [' + b"[]," * 200_000 + b"1]",
        b'"x": "\xff\xfe\x00\n\t"',
        b'"\xff": 1',
        b'"x": "' + b"\\\\" * 700_000 + b'"',
        b'"x": "' + b'\\"' * 700_000 + b'"',
        b'"x": "a \\" b64_json", "usage": {"cost": 0.01}',
        b'"x": 1, "x": 2,, "x" "x"',
        b"'x': 'y', // and a remark",
        b'"note": "he said "hi" to me"',
        b'"in": [{"b64_json": "QUFB"}], "data2": {"b64_json": "QUFB"}',
    ],
    ids=range(16),
)
def test_an_odd_field_costs_neither_an_image_nor_its_cost(extra: bytes) -> None:
    body = odd(extra) + b'"usage": {"cost": 0.04}}'
    found = submitted("openrouter", reply(200, body))
    assert (len(found.images), found.settled, found.cut) == (1, Decimal("0.04"), False)
    assert extracted(body) == PNG


@pytest.mark.parametrize(
    "around", [b"%s and }] more", b"\xef\xbb\xbf%s", b": waiting {x: 1}\n\n%s", b"  \n%s\0\0", b")]}'%s"]
)
def test_what_stands_before_or_behind_the_answer_is_passed_over(around: bytes) -> None:
    body = around % answer()
    found = submitted("openrouter", reply(200, body))
    assert (len(found.images), found.settled, found.cut) == (1, Decimal("0.04"), False)
    assert extracted(body) == PNG


def test_an_answer_in_utf_16_is_read() -> None:
    body = answer().decode().encode("utf-16")
    assert submitted("openrouter", reply(200, body)).settled == Decimal("0.04")
    assert extracted(body) == PNG


@pytest.mark.parametrize(
    ("body", "images"),
    [
        (b'{"data": [{"b64_json": "QUFB", "b64_json": "QUFB"}]}', [b"AAA"]),
        (b'{"data": [{"b64_json": "QUFB", "b64_json": "QkJC"}]}', [b"AAA", b"BBB"]),
        (b'{"data": [{"b64_json": "QUFB"}], "data": [{"b64_json": "QUFB"}]}', [b"AAA"]),
        (b'{"data": [{"b64_json": "QUFB"}], "data": []}', [b"AAA"]),
        (b'{"data": [{"b64_json": "QUFB"}]}{"data": [{"b64_json": "QUFB"}]}', [b"AAA"]),
        (b'{"data": [{"b64_json": "QUFB"}, {"b64_json": "QUFB"}]}', [b"AAA", b"AAA"]),
    ],
)
def test_a_repeated_key_or_answer_counts_an_image_once_but_two_equal_images_are_two(
    body: bytes, images: list[bytes]
) -> None:
    assert len(submitted("openrouter", reply(200, body)).images) == len(images)
    assert [extracted(body, index) for index in range(len(images))] == images


@pytest.mark.parametrize(
    "body",
    [
        b'{"note": "5" tall", "data": [{"b64_json": "QUFB"}, {"b64_json" : "QkJC"}], "usage": {"cost": 1}}',
        b'{"x": ' + b"[" * 1000 + b', "data": [{"b64_json": "QUFB"}, {"b64_json": "QkJC"}]}',
        b'{"data": {"b64_json": "QUFB"}, "more": {"b64_json": "QkJC"}}',
        b'[{"b64_json": "QUFB"}, {"b64_json": "QkJC"}]',
        b'{"data": [' + b"1," * 300_000 + b'{"b64_json": "QUFB"}, {"b64_json": "QkJC"}]}',
    ],
)
def test_images_of_an_answer_whose_order_is_lost_are_found_by_their_name(body: bytes) -> None:
    found = submitted("openrouter", reply(200, body))
    assert (len(found.images), found.settled) == (2, None)
    assert [extracted(body, index) for index in range(2)] == [b"AAA", b"BBB"]


@pytest.mark.parametrize(
    ("first", "second", "settled"),
    [
        (0.04, 0, "0.04"),
        (0, 0.04, "0.04"),
        (0.04, 0.05, "0.05"),
        (0.04, -1, "0.04"),
        ("x", 0.04, "0.04"),
        (1, None, "1"),
    ],
)
def test_of_two_stated_costs_the_larger_one_counts(first: Any, second: Any, settled: str) -> None:
    told = [json.dumps({"cost": cost}).encode() for cost in (first, second)]
    body = b'{"usage": %s, "data": [{"b64_json": "QUFB"}], "usage": %s}' % tuple(told)
    assert submitted("openrouter", reply(200, body)).settled == Decimal(settled)


HALF = {"type": "image_generation.partial_image", "b64_json": "SEFMRg==", "partial_image_index": 0}
DONE = {"type": "image_generation.completed", "b64_json": "RE9ORQ==", "usage": {"cost": 0.04}}


def events(*told: Any) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in told) + b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    "body",
    [
        events(HALF, DONE),
        events(HALF, {**HALF, "b64_json": "SEFMRjI="}, DONE),
        events(dict(reversed(HALF.items())), dict(reversed(DONE.items()))),
        events(DONE, HALF),
        b": PROCESSING\n\n" + events({**HALF, "b64_json": "SEFM" * 500_000}, DONE),
        b"event: image_generation.partial_image\n"
        + events(HALF)
        + b"event: image_generation.completed\n"
        + events(DONE),
        json.dumps([HALF, DONE]).encode(),
    ],
)
def test_of_a_stream_that_nobody_asked_for_the_finished_image_is_taken_and_no_half_drawn_one(body: bytes) -> None:
    found = submitted("openrouter", reply(200, body))
    assert len(found.images) == 1
    assert extracted(body) == b"DONE"


def test_a_stream_of_half_drawn_images_alone_bought_nothing_that_could_be_stored() -> None:
    assert verdict(submitted("openrouter", reply(200, events(HALF)))) == MAYBE


@pytest.mark.parametrize("step", [1, 7, 1024])
def test_an_answer_that_is_read_in_small_pieces_reads_the_same(step: int) -> None:
    class Slow(BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            return super().read(step)

    text = encoded().replace("/", "\\/").replace("A", "\\u0041")
    body = (
        b'\xef\xbb\xbf{"x": "a\\\\\\"b", "y": [["]"]], "data": [{"b64_json": "%s"}], "usage": {"cost": 0.04}}'
        % text.encode()
    )
    asked = wire("openrouter", None)
    found, taken = asked.read_reply(Slow(body)), BytesIO()
    asked.extract(Slow(body), 0, taken)
    assert (len(found.images), found.settled, found.cut, taken.getvalue()) == (1, Decimal("0.04"), False, PNG)


def test_more_images_than_any_call_makes_are_not_all_counted_and_the_cost_is_read_all_the_same() -> None:
    items = b",".join(b'{"b64_json": "%s"}' % base64.b64encode(b"%d" % number) for number in range(3000))
    body = b'{"data": [' + items + b'], "usage": {"cost": 0.04}}'
    found = submitted("openrouter", reply(200, body))
    assert (len(found.images), found.settled) == (1000, Decimal("0.04"))
    assert extracted(body, 999) == b"999"


def test_images_that_are_missing_from_the_list_do_not_move_the_others() -> None:
    body = answer(
        {"b64_json": None}, {"b64_json": encoded(b"one")}, "odd", {"b64_json": ""}, {"b64_json": encoded(b"2")}
    )
    assert len(submitted("openrouter", reply(200, body)).images) == 2
    assert [extracted(body, index) for index in range(2)] == [b"one", b"2"]
    with pytest.raises(UnreadableError, match="no image 3"):
        extracted(body, 2)


@pytest.mark.parametrize(
    "text",
    [
        f"data:image/png;base64,{encoded()}",
        f"DATA:image/png;base64,{encoded()}",
        "\r\n".join(encoded()[at : at + 76] for at in range(0, len(encoded()), 76)),
        base64.urlsafe_b64encode(PNG).decode(),
        encoded() + "===",
        encoded().rstrip("=") + "=\n=\n=",
        encoded().rstrip("="),
    ],
)
def test_base64_in_any_dress_is_the_same_image(text: str) -> None:
    assert extracted(answer({"b64_json": text})) == PNG


@pytest.mark.parametrize("text", ["not base64!", "QUFB\u00e9", "A", "Q=FB", "https://x.example/a.png", "data:,"])
def test_an_image_that_is_not_base64_is_named_as_such_and_leaves_the_others_alone(text: str) -> None:
    body = answer({"b64_json": text}, {"b64_json": encoded(b"two")})
    assert len(submitted("openrouter", reply(200, body)).images) == 2
    if text != "data:,":
        with pytest.raises(UnreadableError, match="not base64"):
            extracted(body, 0)
    assert extracted(body, 1) == b"two"


def test_what_the_sink_raises_is_not_taken_for_a_bad_image(tmp_path: Path) -> None:
    with Spool(directory=tmp_path, max_bytes=10) as spool, pytest.raises(TooLarge):
        wire("openrouter", None).extract(BytesIO(answer()), 0, spool)
    with Spool(directory=tmp_path, max_bytes=10_000) as spool:
        spool.rewound()
        with pytest.raises(ValueError, match="written once"):
            wire("openrouter", None).extract(BytesIO(answer()), 0, spool)


def test_without_a_place_for_the_answer_nothing_is_sent() -> None:
    class Untouched(Canned):
        async def send(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("a call was paid whose images have no place to go")

    refused = event_loop.run(wire("openrouter", Untouched(None)).submit, PaidCall({}, 0))
    assert refused.outcome is Outcome.NOT_SENT


def test_what_was_refused_or_never_sent_is_not_read() -> None:
    asked, unread = wire("openrouter", None), BytesIO(answer())
    for result in (NotSent("no way"), PaidReply(429, {}, b"{}")):
        refused = submitted("openrouter", result)
        assert kept(refused, asked, unread) is refused


MEASURE = """
import base64, resource, sys
from io import BytesIO
from tests.support.canned_wire import wire
class Sink:
    total = 0
    def write(self, chunk): self.total += len(chunk)
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
image = base64.b64encode(bytes(range(256)) * 31_250)
with open(sys.argv[1], "wb") as file:
    file.write(b'{"created": 1, "data": [')
    file.write(b",".join(b'{"b64_json": "' + image + b'"}' for _ in range(1)))
    for _ in range(int(sys.argv[2]) - 1):
        file.write(b',{"b64_json": "' + image + b'"}')
    file.write(b'], "usage": {"cost": 0.1}}')
asked, sink = wire("openrouter", None), Sink()
with open(sys.argv[1], "rb") as file:
    count = len(asked.read_reply(file).images)
    for index in range(count):
        asked.extract(file, index, sink)
assert sink.total == 8_000_000 * count, sink.total
print(peak())
"""


def test_ten_images_take_no_more_memory_than_one(tmp_path: Path, repository: Path) -> None:
    def peak(images: int) -> float:
        command = [sys.executable, "-c", MEASURE, str(tmp_path / "reply"), str(images)]
        return float(subprocess.run(command, cwd=repository, capture_output=True, check=True, text=True).stdout)

    one, ten = peak(1), peak(10)
    assert ten < one + 30, (one, ten)  # MiB; an image is 8, its base64 11, the whole answer 107
