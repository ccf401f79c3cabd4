"""From what became of one paid POST to what was bought: the road that every wire's submit takes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, BinaryIO, Final

from pydantic import SecretStr

from worker.providers.contract import Accepted, InlineWire, Refused
from worker.providers.inline_answer import beginning
from worker.providers.reading import UnreadableError, read_json
from worker.providers.refusals import RefusalRule, inside, refused, unread, unreadable, without_answer
from worker.transport.paid_post import Lost, NotSent, PaidReply

_ERROR_BYTES: Final = 256 * 1024  # an answer that is longer is no error's envelope


def receipt(
    result: PaidReply | NotSent | Lost,
    read: Callable[[int, Any], Accepted],
    table: Sequence[RefusalRule],
    *,
    key: SecretStr,
) -> Accepted | Refused:
    """Return what was bought, or why not. `read(status, answer)` raises `UnreadableError` where it finds no images.

    Any 2xx is read, and so is the body of a success that broke off: if its JSON is whole, it is a receipt all the same.
    """
    if isinstance(result, NotSent):
        return without_answer(result)
    if result.status is not None and 200 <= result.status < 300:
        try:
            return replace(read(result.status, read_json(result.body)), whole=isinstance(result, PaidReply))
        except UnreadableError as error:
            headers = result.headers if isinstance(result, PaidReply) else {}
            if (told := inside(result.status, result.body, headers, table, key=key)) is None:
                told = unreadable(result, error) if isinstance(result, PaidReply) else without_answer(result)
            return replace(told, body=result.body)
    return without_answer(result) if isinstance(result, Lost) else refused(result, table, key=key)


def kept(answer: Accepted | Refused, wire: InlineWire, file: BinaryIO) -> Accepted | Refused:
    """Return what was bought by an inline call, from what its `submit` returned and what its sink was given.

    A success that broke off is read all the same: the images that are whole in it are bought. One that holds an error
    in place of images is that error.
    """
    if answer.http_status is None or not 200 <= answer.http_status < 300:
        return answer
    try:
        read = wire.read_reply(file)
    except UnreadableError as error:
        if (told := wire.read_error(answer.http_status, beginning(file, _ERROR_BYTES))) is not None:
            return told
        return answer if isinstance(answer, Refused) else unread(answer.http_status, error)
    came = answer if isinstance(answer, Accepted) else Accepted(answer.http_status, (), whole=False)
    return replace(read, http_status=came.http_status, upstream_id=came.upstream_id, whole=came.whole)
