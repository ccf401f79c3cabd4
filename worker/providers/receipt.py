"""From what became of one paid POST to what was bought: the road that every wire's submit takes."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, BinaryIO, Final

from pydantic import SecretStr

from worker.providers.contract import Accepted, InlineWire, Refused
from worker.providers.inline_answer import beginning
from worker.providers.reading import UnreadableError, read_json
from worker.providers.refusals import RefusalRule, inside, refused, unread, unreadable, without_answer
from worker.providers.tell_tales import (
    is_purchase,
    is_success,
    names_error,
    names_picture,
    noted,
    parts_of_error,
    says_where,
    weighed,
)
from worker.providers.wording import line_of
from worker.transport.paid_post import Lost, NotSent, PaidReply

_ERROR_BYTES: Final = 256 * 1024  # an answer that is longer is no error's envelope

_HANDLES: Final = ("location", "content-location", "operation-location", "x-request-id")


def receipt(
    result: PaidReply | NotSent | Lost,
    read: Callable[[int, Any], Accepted],
    table: Sequence[RefusalRule],
    *,
    key: SecretStr,
    salvage: Callable[[int, bytes], Accepted | None] | None = None,
) -> Accepted | Refused:
    """Return what was bought, or why not. `read(status, answer)` raises `UnreadableError` where it finds no images.

    `salvage(status, body)` returns what can be seen in a success that cannot be read and holds no error.

    Any 2xx is read. A receipt under the status of an error is one too: what was made is paid for, whatever the status
    says. One that stands inside an error says that the call may have been bought. JSON that is whole counts although
    its answer broke off, except that such an answer refuses nothing: what did not come may have named a purchase.
    """
    if isinstance(result, NotSent) or result.status is None:
        return without_answer(result)
    success = is_success(result.status)
    try:
        found = replace(read(result.status, read_json(result.body)), whole=isinstance(result, PaidReply))
    except UnreadableError as error:
        seen = salvage(result.status, result.body) if salvage and success and _is_silent(result, table, key) else None
        if seen is not None:
            return replace(seen, cut=True, whole=False, settled=None, body=result.body)
        told = _unbought(result, error, table, key) if success else _refusal(result, table, key)
        named = _is_in_error(result.status, result.body, read) or _names_purchase(result)
        told = weighed(told, result.body, named=named)
        return noted(told, *_handles(result, key)) if named or success else told
    if success or is_purchase(found, result.body):
        return found
    return weighed(_refusal(result, table, key), result.body, named=True)


def _names_purchase(result: PaidReply | Lost) -> bool:
    return says_where(result) or names_picture(result.status, result.body)


def _is_in_error(status: int, body: bytes, read: Callable[[int, Any], Accepted]) -> bool:
    """Tell whether an error holds a receipt: what it names was bought, or stands in the way of the call."""
    for part in parts_of_error(body):
        with suppress(UnreadableError):
            found = read(status, part)
            # A link alone may be that of the row's own reference, or of a page that explains the error.
            if any(image.upstream_id or image.link_expires_at for image in found.images):
                return True
    return False


def _handles(result: PaidReply | Lost, key: SecretStr) -> list[str]:
    """Return the headers that may be all that names the purchase."""
    return [f"{name}: {value}" for name in _HANDLES if (value := line_of(result.headers.get(name), key))]


def _is_silent(result: PaidReply | Lost, table: Sequence[RefusalRule], key: SecretStr) -> bool:
    """Tell whether a success holds no error: no envelope of one, and no code beside a message."""
    told = inside(result.status or 0, result.body, result.headers, table, key=key)
    return told is None and not names_error(result.body)


def _unbought(
    result: PaidReply | Lost, error: UnreadableError, table: Sequence[RefusalRule], key: SecretStr
) -> Refused:
    told = inside(result.status or 0, result.body, result.headers, table, key=key)
    return told or (unreadable(result, error) if isinstance(result, PaidReply) else without_answer(result))


def _refusal(result: PaidReply | Lost, table: Sequence[RefusalRule], key: SecretStr) -> Refused:
    return without_answer(result) if isinstance(result, Lost) else refused(result, table, key=key)


def kept(answer: Accepted | Refused, wire: InlineWire, file: BinaryIO) -> Accepted | Refused:
    """Return what was bought by an inline call, from what its `submit` returned and what its sink was given.

    A success that broke off is read all the same: the images that are whole in it are bought. One that holds an error
    in place of images is that error.
    """
    if isinstance(answer, Refused) and not is_success(answer.http_status):
        return answer
    status = answer.http_status or 0
    try:
        read = wire.read_reply(file)
    except UnreadableError as error:
        body = beginning(file, _ERROR_BYTES)
        told = wire.read_error(status, body) or (answer if isinstance(answer, Refused) else unread(status, error))
        name = answer.upstream_id if isinstance(answer, Accepted) else None
        told = noted(told, *([f"generation {name}"] if name else []))
        told = weighed(told, body, named=names_picture(status, body))
        return replace(told, body=b"")  # the answer is kept whole already
    came = answer if isinstance(answer, Accepted) else Accepted(status, (), whole=False)
    return replace(read, http_status=came.http_status, upstream_id=came.upstream_id, whole=came.whole)
