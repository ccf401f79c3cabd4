"""What the body of an error gives away: an answer that names a charge or a purchase may have been bought.

A provider's status is its word on what happened. A charge, an id or pictures beside it are the stronger word: an error
that is believed against them is bought again, or its pictures are lost.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from shared.lifecycle import Outcome
from worker.providers.amount import cost_of
from worker.providers.contract import CHARGE_STATED, Accepted, Refused
from worker.providers.reading import UnreadableError, read_json
from worker.providers.refusals import tells_error
from worker.providers.wording import MESSAGE_CHARS
from worker.transport.paid_post import Lost, PaidReply

_UNREADABLE: Final = "answer_unreadable"
_PARTS: Final = ("data", "details", "metadata", "result")
_PLACES: Final = ("location", "operation-location")
_LOGIN: Final = frozenset({401, 403})
_NAMES: Final = ("id", "ids", "imageIds", "media_id", "media_ids")
_OF_THE_ACCOUNT: Final = frozenset({401, 402, 429})
# Without case and underscores: the five documents, their examples and their clients do not agree on these.
_PURCHASE_IDS: Final = frozenset(
    {"ids", "imageid", "imageids", "mediaid", "mediaids", "generationid", "generationids", "outputimageid", "jobid"}
)
_WITH_IDS: Final = frozenset({"data", "result", "image", "images", "media", "generation", "outputimage", "job"})
_ECHOES: Final = frozenset({"request", "input", "body", "params", "parameters"})
_DEPTH: Final = 6
_CHARGED: Final = ("credits_used", "creditsUsed", "credits_charged", "creditsCharged", "amount_charged")
_AMOUNT: Final = re.compile(r"[^0-9]{0,8}([0-9]{1,9}(?:[.,][0-9]{1,9})?)[^0-9]{0,20}")


def is_success(status: int | None) -> bool:
    """Tell whether a status is any 2xx."""
    return status is not None and 200 <= status < 300


def is_purchase(found: Accepted, body: bytes) -> bool:
    """Tell whether what was read as a receipt under an error's status is one.

    An error beside an id may name what stands in the way of a call. An error beside a link or a charge may not.
    """
    answer = _parsed(body)
    return bool(any(image.link for image in found.images) or stated_charge(answer) or not _is_error(answer))


def weighed(told: Refused, body: bytes, *, named: bool = False) -> Refused:
    """Return a refusal that is unknown if its body states a charge or names a purchase; the body of an unknown is kept.

    `named`: the body is known to name one.
    """
    if told.outcome is Outcome.NOT_SENT:
        return told
    answer = _parsed(body)
    if charge := stated_charge(answer):
        told = _doubted(told, CHARGE_STATED, f"; it states a charge of {charge.normalize():f}")
    elif told.outcome is Outcome.REJECTED and (named or _names_purchase(answer)):
        told = _doubted(told, _UNREADABLE, "; it names a purchase")
    return replace(told, body=body) if told.outcome is Outcome.UNKNOWN else told


def says_where(result: PaidReply | Lost) -> bool:
    """Tell whether an answer says where something is: what was never made has no place.

    A login page has one, and so has a redirect.
    """
    if not isinstance(result, PaidReply) or result.status in _LOGIN or 300 <= result.status < 400:
        return False
    return any(result.headers.get(name, "").strip() for name in _PLACES)


def names_picture(status: int | None, body: bytes) -> bool:
    """Tell whether an error that is not about the row names a picture, or a call that makes one, anywhere in it.

    An error about the row may name the row's own reference; a limit or an empty balance has nothing to name.
    """
    return (is_success(status) or status in _OF_THE_ACCOUNT) and _names_any(_parsed(body), _DEPTH)


def noted(told: Refused, *named: str) -> Refused:
    """Return an unknown call's refusal with what names the call, for whoever looks it up by hand."""
    if told.outcome is not Outcome.UNKNOWN or not named:
        return told
    said = f"; {'; '.join(named)}"[: MESSAGE_CHARS // 2]
    return replace(told, message=told.message[: MESSAGE_CHARS - len(said)] + said)


def stated_charge(answer: Any) -> Decimal:
    """Return the highest charge that an answer states in the field of any provider's document; 0 without one."""
    return max((cost for cost in map(_charge_in, _figures(answer)) if cost is not None), default=Decimal(0))


def parts_of_error(content: bytes) -> Iterator[Mapping[str, Any]]:
    """Yield what an error carries, in the form of an answer: a provider may wrap a receipt in its error."""
    body = _object(_parsed(content))
    for place in (_object(body.get("error")), body):
        for part in filter(None, (place.get(name) for name in _PARTS)):
            yield {"data": part}
            yield _object(part)


def _figures(answer: Any) -> Iterator[Any]:
    for place in _places(_object(answer)):
        yield from map(place.get, _CHARGED)
        stated = place.get("usage")
        for usage in map(_object, stated if isinstance(stated, list) else [stated]):
            yield from (usage.get("cost"), usage.get("total_cost"), usage.get("totalCost"))
            yield _object(usage.get("cost_details")).get("upstream_inference_cost")


def _charge_in(value: Any) -> Decimal | None:
    """Return a charge, also from text that has its unit beside it, such as "$0.04" or "15 credits"."""
    found = _AMOUNT.fullmatch(value) if isinstance(value, str) and "-" not in value else None
    return cost_of(found[1].replace(",", ".") if found else value)


def _places(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of an answer that may state a charge.

    What stands beside the credits that an account has left is a figure of the account, not of the call.
    """
    yield body
    for name in ("data", "error"):
        yield (part := _object(body.get(name)))
        yield from filter(_is_of_the_call, (_object(part.get(inner)) for inner in ("details", "metadata", "data")))
    yield from filter(_is_of_the_call, (_object(body.get(name)) for name in ("meta", "details", "metadata")))


def _is_of_the_call(part: Mapping[str, Any]) -> bool:
    return "credits_available" not in part


def _doubted(told: Refused, code: str, said: str) -> Refused:
    message = told.message[: MESSAGE_CHARS - len(said)] + said
    return replace(told, outcome=Outcome.UNKNOWN, code=code, message=message)


def _names_purchase(answer: Any) -> bool:
    """Tell whether an answer that is no error names what it bought; an error may have a number of its own."""
    places = (_object(answer), _object(_object(answer).get("data")))
    return not _is_error(answer) and any(place.get(name) for place in places for name in _NAMES)


def _names_any(part: Any, depth: int, *, owner: bool = False) -> bool:
    if isinstance(part, list):
        return depth > 0 and any(_names_any(one, depth - 1, owner=owner) for one in part)
    if not isinstance(part, dict) or not depth:
        return False
    plain = {name.replace("_", "").casefold(): value for name, value in part.items()}
    if any(plain.get(name) for name in (*_PURCHASE_IDS, *(["id"] if owner else []))):
        return True
    inner = {name: value for name, value in plain.items() if name not in _ECHOES}
    return any(_names_any(value, depth - 1, owner=name in _WITH_IDS) for name, value in inner.items())


def names_error(body: bytes) -> bool:
    """Tell whether a body has a code and a message of its own, as a flat error does."""
    return {"code", "message"} <= _object(_parsed(body)).keys()


def _is_error(answer: Any) -> bool:
    body = _object(answer)
    return tells_error(body) or "code" in body or "message" in body


def _parsed(body: bytes) -> Any:
    try:
        return read_json(body)
    except UnreadableError:
        return None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
