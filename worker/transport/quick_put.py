"""A short cut into the bucket: a URL that boto3 signed, and a PUT on the event loop.

boto3's own call costs four times as much CPU, and a thread. The short cut knows one answer, that of success: a 200
with an empty body, which came after the last byte had left and is the answer to no other request. After any other,
`Storage.put` does the work again: it knows redirects, repetitions and S3's errors. A second PUT of the same bytes under
the same key changes nothing.
"""

import enum
import re
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import anyio
import structlog
import yarl

from worker.transport.digested import Stored
from worker.transport.quiet_connector import QuietConnector
from worker.transport.storage import SignedPut, Storage
from worker.transport.storage_errors import StorageDamaged, StorageError, is_damage, may_pass
from worker.transport.store_proof import DAMAGED, proof_key
from worker.transport.whole_body import WholeBody

_log = structlog.get_logger(__name__)
_MOST_BYTES: Final = 4 * 1024 * 1024  # a longer body takes longer on a slow line than the short cut may
_ANSWER_BYTES: Final = 64 * 1024
_CHECKSUM: Final = "x-amz-checksum-sha256"
_TAKEN: Final = 200
_REDIRECT: Final = 300
_SERVER_ERROR: Final = 500
_REQUEST: Final = "x-amz-request-id"
_REMEMBERED: Final = 200  # answers; on one connection, the last is repeated
_PASSING: Final = frozenset({408, 409, 425, 429})
_REST_SECONDS: Final = 30.0
_TAKES_NONE: Final = "the bucket takes no PUT with a signed URL, or neither numbers its answers nor states checksums"
_TAKES_DAMAGED: Final = "the bucket does not refuse damaged bytes that come with a signed URL"
_CODE: Final = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")


class Put(enum.Enum):
    """The end of one short cut."""

    TAKEN = "taken"
    NOT_TRIED = "not tried"
    FAILED = "failed"
    """No answer, or one that says that the bucket cannot now."""
    REFUSED = "refused"
    """An answer that says that it will not, or that could be the answer to another request."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """`body` is its beginning; `stated` are the checksums that it names, `request` is its number at the bucket.

    `is_late`: it came after the last byte left. To an earlier one, nobody has seen these bytes. `is_repeated`: it came
    before, to another request on a kept connection.
    """

    status: int
    body: bytes
    stated: frozenset[str]
    request: str
    is_late: bool
    is_repeated: bool

    @property
    def code(self) -> str:
        found = _CODE.search(self.body)
        return found[1].decode() if found else ""

    @property
    def is_success(self) -> bool:
        return self.status == _TAKEN and self.is_late and not (self.body or self.is_repeated)

    @property
    def put(self) -> Put:
        if self.is_success:
            return Put.TAKEN if self.stated or self.request else Put.REFUSED
        passes = self.status in _PASSING or may_pass(self.code)
        return Put.REFUSED if _REDIRECT <= self.status < _SERVER_ERROR and not passes else Put.FAILED


class QuickPut:
    """Short cuts of one worker over a pool of kept connections; `seconds` is the wall clock of each `put`.

    It is not used before the bucket has refused a wrong checksum that came this way. It is left for good where the
    bucket refuses what `Storage.put` may do (some policies forbid signed URLs), or numbers no answer and states no
    checksum: an answer that is repeated on a kept connection would be taken for that of the next object. After a
    failure it rests, so that a bucket that hangs costs no copy `seconds` more.
    """

    def __init__(
        self,
        *,
        connections: int,
        seconds: float,
        ssl_context: ssl.SSLContext,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connections = connections
        self._seconds = seconds
        self._ssl_context = ssl_context
        self._session: aiohttp.ClientSession | None = None
        self._clock = clock
        self._rests_until = float("-inf")
        self._is_verified: bool | None = None
        self._verifying: anyio.Lock | None = None
        self._answered: deque[str] = deque(maxlen=_REMEMBERED)

    async def put(self, storage: Storage, key: str, stored: Stored, **about: Any) -> Put:
        """Store the bytes under `key`, with `about` as `Storage.put` takes it.

        Raises `StorageDamaged` where the bucket states another checksum, what `Storage.signed_put` raises, and
        `SpoolError` where the bytes cannot be read.
        """
        if stored.length > _MOST_BYTES:
            return Put.NOT_TRIED
        with anyio.move_on_after(self._seconds):
            return await self._put(storage, key, stored, about)
        self._rest()
        return Put.FAILED if self._is_verified else Put.NOT_TRIED

    async def _put(self, storage: Storage, key: str, stored: Stored, about: Mapping[str, Any]) -> Put:
        if not await self._may_try(storage):
            return Put.NOT_TRIED
        answer = await self._send(storage, key, stored, about)
        end = Put.FAILED if answer is None else answer.put
        if end is Put.FAILED:
            self._rest()
        if answer and end is Put.TAKEN and not answer.stated <= {stored.sha256_base64}:
            raise StorageDamaged(f"{storage.name} states that it stored other bytes")
        return end

    def leave(self) -> None:
        """Use no short cut again: the bucket refused one, and took the same bytes from `Storage.put`."""
        if self._is_verified:
            self._is_verified = False
            _log.info("quick_put_left", reason=_TAKES_NONE)

    async def close(self) -> None:
        """Close the connections; a later `put` opens new ones."""
        session, self._session, self._verifying = self._session, None, None
        if session is not None:
            await session.close()

    def _rest(self) -> None:
        self._rests_until = self._clock() + _REST_SECONDS

    async def _may_try(self, storage: Storage) -> bool:
        if self._is_verified is None and self._clock() >= self._rests_until:
            if self._verifying is None:
                self._verifying = anyio.Lock()
            async with self._verifying:
                if self._is_verified is None and self._clock() >= self._rests_until:
                    self._is_verified = await self._verify(storage)
        return bool(self._is_verified) and self._clock() >= self._rests_until

    async def _verify(self, storage: Storage) -> bool | None:
        """Tell whether the bucket refuses damaged bytes that come this way; None if it does not say."""
        if not await anyio.to_thread.run_sync(lambda: storage.has_short_cut):  # which may ask for credentials
            return False
        key, about = proof_key(), {"content_type": "text/plain", "metadata": {}}
        answer = await self._send(storage, key, DAMAGED, about)
        if answer is not None and answer.status >= _REDIRECT and is_damage(answer.code):
            return True
        if answer is not None and answer.status < _REDIRECT:
            _log.info("quick_put_left", reason=_TAKES_DAMAGED)
            self._is_verified = False  # also if the deletion takes too long
            with suppress(StorageError):
                await anyio.to_thread.run_sync(storage.delete, key, abandon_on_cancel=True)
            return False
        if answer is None or answer.put is Put.FAILED:
            self._rest()
            return None
        _log.info("quick_put_left", reason=_TAKES_NONE)
        return False

    async def _send(self, storage: Storage, key: str, stored: Stored, about: Mapping[str, Any]) -> _Answer | None:
        """PUT the bytes and return the answer; None where no whole one came.

        Raises what `signed_put` raises, and `SpoolError`.
        """
        signed = await _signed(storage, key, stored, about)
        # aiohttp would rewrite escapes that were signed, and send a user in the URL as other credentials.
        url = yarl.URL(signed.url, encoded=True).with_user(None)
        headers = {**signed.headers, "Content-Length": str(stored.length)}
        body = WholeBody(stored)
        try:
            with body.sending():
                answer = await self._open(storage).put(url, data=body, headers=headers, allow_redirects=False)
                return await self._read(answer, body)
        except Exception:  # noqa: BLE001 - `Storage.put` says what is wrong; an error here may quote the signed URL
            if body.fault is not None:
                raise body.fault from None
            return None

    async def _read(self, answer: aiohttp.ClientResponse, body: WholeBody) -> _Answer:
        """Read an answer, and keep its connection for another PUT only if all is well with it."""
        is_late, said = body.has_left, b""
        try:
            while (chunk := await answer.content.read(_ANSWER_BYTES)) and len(said) < _ANSWER_BYTES:
                said += chunk
            request = answer.headers.get(_REQUEST, "")
            stated = frozenset(answer.headers.getall(_CHECKSUM, ()))
            found = _Answer(answer.status, said, stated, request, is_late, request in self._answered)
            if request:
                self._answered.append(request)
            body.is_answered = found.put is Put.TAKEN and found.stated <= {body.sha256_base64}
            return found
        finally:
            if body.is_answered:
                answer.release()
            else:
                answer.close()

    def _open(self, storage: Storage) -> aiohttp.ClientSession:
        if self._session is None:
            certificates = storage.certificates(self._ssl_context)
            self._session = aiohttp.ClientSession(
                connector=QuietConnector(limit=self._connections, ssl=certificates),
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "genqueue", "Accept-Encoding": "identity"},
            )
        return self._session


async def _signed(storage: Storage, key: str, stored: Stored, about: Mapping[str, Any]) -> SignedPut:
    """Sign on the loop, or in a thread where new credentials must first be fetched over the network."""
    if storage.signs_at_once:
        return storage.signed_put(key, stored, **about)
    return await anyio.to_thread.run_sync(lambda: storage.signed_put(key, stored, **about), abandon_on_cancel=True)
