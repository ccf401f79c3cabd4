"""From what became of one paid POST to what was bought: the road that every wire's submit takes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, BinaryIO

from pydantic import SecretStr

from worker.paid_post import Lost, NotSent, Reply
from worker.providers.contract import Accepted, InlineWire, Refused, UnreadableError, read_json
from worker.providers.refusals import Row, refused, unread, unreadable, without_answer


def receipt(
    result: Reply | NotSent | Lost, read: Callable[[int, Any], Accepted], table: Sequence[Row], *, key: SecretStr
) -> Accepted | Refused:
    """Return what was bought, or why not. `read(status, answer)` raises `UnreadableError` where it finds no images.

    Any 2xx is read, and so is the body of a success that broke off: if its JSON is whole, it is a receipt all the same.
    """
    if isinstance(result, NotSent):
        return without_answer(result)
    if result.status is not None and 200 <= result.status < 300:
        try:
            return replace(read(result.status, read_json(result.body)), whole=isinstance(result, Reply))
        except UnreadableError as error:
            return unreadable(result, error) if isinstance(result, Reply) else without_answer(result)
    return without_answer(result) if isinstance(result, Lost) else refused(result, table, key=key)


def kept(answer: Accepted | Refused, wire: InlineWire, file: BinaryIO) -> Accepted | Refused:
    """Return what was bought by an inline call, from what its `submit` returned and what its sink was given.

    A success that broke off is read all the same: if its JSON is whole, it is a receipt.
    """
    if answer.http_status is None or not 200 <= answer.http_status < 300:
        return answer
    try:
        read = wire.read_reply(file)
    except UnreadableError as error:
        return answer if isinstance(answer, Refused) else unread(answer.http_status, error)
    came = answer if isinstance(answer, Accepted) else Accepted(answer.http_status, (), whole=False)
    return replace(read, http_status=came.http_status, upstream_id=came.upstream_id, whole=came.whole)
