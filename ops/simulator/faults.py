"""Faults by seed and by script: which request meets which fault.

A plan is the JSON that ``--faults`` and ``PUT /_sim/faults`` take::

    {"seed": 7,
     "rates":  {"bloom.submit": {"reply_lost": 0.1, "error_5xx": {"rate": 0.05, "status": 502, "accepted":
     true}}}, "script": [{"match": {"provider": "bloom", "route": "submit", "prompt_contains": "cat", "key":
     "sim-a"},
                 "after": 1, "times": 2, "fault": "reset_after_read"}]}

A bare list is a script. A fault is a kind, or an object with ``kind`` and options. ``times`` defaults to 1
and ``null`` means always; ``after`` lets that many matching requests pass first. The script goes before the
rates. ``prompt_contains`` is about what is bought, asked for or downloaded. Every kind that answers with an error
takes ``retry_after`` on every route.

| kind | on the wire | options |
|---|---|---|
| ``reply_lost`` | done and billed (not by OpenRouter), then FIN without a byte | |
| ``close_after_read`` | whole request read, FIN without a byte | ``accepted`` (false) |
| ``reset_after_read`` | whole request read, RST | ``accepted`` (false) |
| ``refuse_503`` | 503, nothing done | ``retry_after`` |
| ``error_5xx`` | the provider's error | ``status`` (500), ``accepted`` (false), ``code``, ``retry_after`` |
| ``error_in_2xx`` | submit: success's status, the provider's error in the body | ``accepted`` (false), ``code``,
``status`` of the error (its code's own, or 500), ``retry_after`` |
| ``gone_404`` | poll, download: the provider's own 404 of what exists; missing where many ids are asked for | |
| ``429`` | the provider's rate limit | ``retry_after``: seconds, or text sent as it is (an HTTP date) |
| ``402`` | the provider's "no balance" | |
| ``slow`` | the reply starts late | ``seconds`` (30, simulated) |
| ``drip`` | one byte of body at a time | ``seconds`` between bytes (1, simulated) |
| ``truncate`` | the body ends early, then FIN | ``chunked`` (false: a Content-Length that lies) |
| ``wrong_content`` | 200 with another document | ``content_type`` (text/html or application/json) |
| ``gateway_page`` | done and billed (not by OpenRouter), then a gateway's HTML page instead | ``status`` (403) |
| ``wrong_status`` | done and billed, and the whole reply under another status | ``status`` (503) |
| ``html_body`` | an HTML page under the reply's own type and status | |
| ``empty_body`` | the reply's own status without a body | |
| ``not_utf8`` | a body that is no text | |
| ``oversize`` | an enormous body | ``bytes`` (300,000,000; null: endless), ``content_length`` (true) |
| ``content_length_lies`` | the whole body under a longer Content-Length, then FIN | ``bytes`` more (1,000) |
| ``nan`` | JSON with an extra field that is NaN | |
| ``bom`` | JSON after a byte order mark | |
| ``huge_field`` | JSON with an extra string | ``bytes`` (20,000,000) |
| ``deep_field`` | JSON with an extra field of nested lists | ``depth`` (100,000) |
| ``many_links`` | submit: more ids or links than were asked for, all of pictures; not Banatie | ``count`` (1,000) |
| ``repeated_id`` | submit: names the id of the key's purchase before this one | |
| ``long_id`` | submit: names an id of so many characters | ``bytes`` (10,000) |
| ``trailing_bytes`` | download, OpenRouter's submit: bytes after the end of the picture | ``bytes`` (64) |
| ``mime`` | download, OpenRouter's submit: a file of another kind | ``format``: svg, avif, bmp, tiff, html, text |
| ``redirect_to`` | a redirect | ``url`` (required), ``status`` (302) |
| ``early_expiry`` | signed links only: download: refused as expired; submit: dead on arrival | |
| ``failed_generation`` | submit: what the mark ``[sim:failed]`` does | ``reason``: or another mark's |
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ops.simulator.draws import fraction

# Whether the provider does its work before the fault strikes; None where the question does not arise.
ACCEPTED: dict[str, bool] = {
    "reply_lost": True,
    "close_after_read": False,
    "reset_after_read": False,
    "refuse_503": False,
    "error_5xx": False,
    "error_in_2xx": False,
    "gone_404": True,
    "429": False,
    "402": False,
    "slow": True,
    "drip": True,
    "truncate": True,
    "wrong_content": True,
    "gateway_page": True,
    "wrong_status": True,
    "html_body": True,
    "empty_body": True,
    "not_utf8": True,
    "oversize": True,
    "content_length_lies": True,
    "nan": True,
    "bom": True,
    "huge_field": True,
    "deep_field": True,
    "many_links": True,
    "repeated_id": True,
    "long_id": True,
    "trailing_bytes": True,
    "mime": True,
    "redirect_to": True,
    "early_expiry": True,
    "failed_generation": True,
}
_CHOOSABLE = {"close_after_read", "reset_after_read", "error_5xx", "error_in_2xx"}
# What no client receives to its end, so that a provider which bills on delivery does not bill it.
UNDELIVERED = {
    "reply_lost",
    "close_after_read",
    "reset_after_read",
    "truncate",
    "content_length_lies",
    "error_5xx",
    "gateway_page",
}
_STATUS = {
    "refuse_503": 503,
    "error_5xx": 500,
    "429": 429,
    "402": 402,
    "redirect_to": 302,
    "gateway_page": 403,
    "wrong_status": 503,
}
_BYTES = {"huge_field": 20_000_000, "long_id": 10_000, "trailing_bytes": 64, "content_length_lies": 1_000}
_OVERSIZE = 300_000_000
FORMATS = ("svg", "avif", "bmp", "tiff", "html", "text")
_MATCHES = {"provider", "route", "prompt_contains", "key"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedFault:
    """One fault with its options; ``status`` is 0 where the reply keeps its own.

    ``about`` is what its line of the script wants of the prompt.
    """

    kind: str
    accepted: bool
    status: int = 0
    code: str | None = None
    retry_after: float | str | None = None
    seconds: float | None = None
    chunked: bool = False
    content_type: str = "text/html"
    bytes: int | None = _OVERSIZE
    content_length: bool = True
    url: str | None = None
    reason: str | None = None
    depth: int = 100_000
    count: int = 1_000
    format: str = ""
    about: str = ""

    @property
    def size(self) -> int:
        """The option ``bytes`` of a kind that has an end."""
        return self.bytes or 0

    @classmethod
    def parse(cls, spec: str | Mapping[str, Any]) -> "StagedFault":
        """Read a fault of a plan. Raises ``ValueError`` naming the kind or option that does not exist."""
        options = {"kind": spec} if isinstance(spec, str) else dict(spec)
        kind = str(options.pop("kind", ""))
        if kind not in ACCEPTED:
            raise ValueError(f"fault kind {kind!r} does not exist; known: {', '.join(ACCEPTED)}")
        unknown = set(options) - ({item.name for item in fields(cls)} - {"about"})
        if unknown:
            raise ValueError(f"fault {kind} has no option {min(unknown)!r}")
        if "accepted" in options and kind not in _CHOOSABLE:
            raise ValueError(f"fault {kind} is always accepted={ACCEPTED[kind]}: leave the option out")
        if kind == "redirect_to" and not options.get("url"):
            raise ValueError("fault redirect_to needs a url")
        if kind == "mime" and options.get("format") not in FORMATS:
            raise ValueError(f"fault mime needs a format: {', '.join(FORMATS)}")
        if kind != "oversize" and options.get("bytes", 0) is None:
            raise ValueError(f"fault {kind} needs a number of bytes: only oversize can be endless")
        usual = {"accepted": ACCEPTED[kind], "status": _STATUS.get(kind, 0), "bytes": _BYTES.get(kind, _OVERSIZE)}
        return cls(**{"kind": kind, **usual, **options})


@dataclass(slots=True)
class _Line:
    match: Mapping[str, str]
    fault: StagedFault
    after: int
    times: int | None


class FaultPlan:
    """Chooses each request's fault: the same for the same plan and seed, in whatever order requests come."""

    def __init__(self, document: Mapping[str, Any] | list[Any], seed: int) -> None:
        self._seed = seed
        self.put(document)

    def put(self, document: Mapping[str, Any] | list[Any]) -> None:
        """Replace the plan. Raises ``ValueError`` saying what is wrong with it; the old plan then stays."""
        plan: dict[str, Any] = {"script": document} if isinstance(document, list) else dict(document)
        unknown = set(plan) - {"seed", "rates", "script"}
        if unknown:
            raise ValueError(f"a fault plan has seed, rates and script, not {min(unknown)!r}")
        rates = {route: _rates(route, kinds) for route, kinds in plan.get("rates", {}).items()}
        script = [_line(row) for row in plan.get("script", [])]
        self._draw_seed = plan.get("seed", self._seed)
        self._rates, self._script = rates, script
        self._times: Counter[tuple[str, str]] = Counter()
        self.document = plan

    def put_script(self, script: list[Any]) -> None:
        """Replace the script alone; what the rates draw next stays. Raises ``ValueError`` as ``put`` does."""
        self._script = [_line(row) for row in script]
        self.document = {**self.document, "script": script}

    def choose(self, provider: str, route: str, subject: str, prompt: str, key: str | None) -> StagedFault | None:
        """Return the fault for one request, if any.

        ``subject`` is what makes requests the same one sent again (body hash, ids, image id): each repetition
        is a new draw, and draws of different subjects do not depend on each other.
        """
        for line in self._script:
            if _matches(line.match, provider, route, prompt, key) and line.times != 0:
                if line.after > 0:
                    line.after -= 1
                    continue
                line.times = None if line.times is None else line.times - 1
                return line.fault
        return self._drawn(f"{provider}.{route}", subject)

    def _drawn(self, route: str, subject: str) -> StagedFault | None:
        rates = self._rates.get(route)
        if not rates:
            return None
        self._times[route, subject] += 1
        left = fraction("fault", self._draw_seed, route, subject, self._times[route, subject])
        for rate, fault in rates:
            left -= rate
            if left < 0:
                return fault
        return None


def _rates(route: str, kinds: Mapping[str, Any]) -> list[tuple[float, StagedFault]]:
    found = []
    for kind, value in kinds.items():
        options = dict(value) if isinstance(value, Mapping) else {"rate": value}
        rate = float(options.pop("rate", 0))
        found.append((rate, StagedFault.parse({"kind": kind, **options})))
    if sum(rate for rate, _ in found) > 1 or any(rate < 0 for rate, _ in found):
        raise ValueError(f"rates of {route} must be 0 or more and add up to at most 1")
    return found


def _line(row: Mapping[str, Any]) -> _Line:
    match = row.get("match", {})
    unknown = (set(match) - _MATCHES) | (set(row) - {"match", "fault", "after", "times"})
    if unknown or "fault" not in row:
        raise ValueError(f"a script line has match, fault, after, times; match has {', '.join(sorted(_MATCHES))}")
    fault = replace(StagedFault.parse(row["fault"]), about=match.get("prompt_contains", ""))
    return _Line(match=match, fault=fault, after=row.get("after", 0), times=row.get("times", 1))


def _matches(match: Mapping[str, str], provider: str, route: str, prompt: str, key: str | None) -> bool:
    return (
        match.get("provider", provider) == provider
        and match.get("route", route) == route
        and match.get("key", key) == key
        and match.get("prompt_contains", "") in prompt
    )
