"""A short cut into the bucket: a URL that boto3 signed, and a PUT on the event loop.

boto3's own call costs four times as much CPU, and a thread. The short cut knows one answer, that of success. After
any other, `Storage.put` does the work again: it knows redirects, repetitions and S3's errors. A second PUT of the same
bytes under the same key changes nothing.
"""

import enum
import hashlib
import re
import secrets
import ssl
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import aiohttp
import anyio
import structlog
import yarl

from worker.transport.digested import InMemory
from worker.transport.quiet_connector import QuietConnector
from worker.transport.storage import SignedPut, Storage, Stored
from worker.transport.storage_errors import StorageDamaged, StorageError, is_damage

_log = structlog.get_logger(__name__)
_MOST_BYTES: Final = 4 * 1024 * 1024  # a longer body takes longer on a slow line than the short cut may
_PIECE_BYTES: Final = 256 * 1024
_ANSWER_BYTES: Final = 64 * 1024
_TAKEN: Final = 200
_REDIRECT: Final = 300
_SERVER_ERROR: Final = 500
_REST_SECONDS: Final = 30.0
_CODE: Final = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")


class Put(enum.Enum):
    """The end of one short cut."""

    TAKEN = "taken"
    NOT_TRIED = "not tried"
    FAILED = "failed"
    """No answer, or one that says that the bucket cannot now."""
    REFUSED = "refused"
    """An answer that says that it will not."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    code: str
    sha256: str | None

    @property
    def put(self) -> Put:
        if self.status == _TAKEN and not self.code:
            return Put.TAKEN
        return Put.REFUSED if _REDIRECT <= self.status < _SERVER_ERROR else Put.FAILED


class _Damaged(InMemory):
    """A few bytes with the checksum of others."""

    @property
    def sha256_base64(self) -> str:
        return b64encode(hashlib.sha256(b"other bytes").digest()).decode("ascii")


class QuickPut:
    """Short cuts of one worker over a pool of kept connections; `seconds` is the wall clock of each.

    It is not used before the bucket has refused a wrong checksum that came this way. It is left for good where the
    bucket refuses what `Storage.put` may do: some policies forbid signed URLs. After a failure it rests, so that a
    bucket that hangs costs no copy `seconds` more.
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

    async def put(self, storage: Storage, key: str, stored: Stored, **about: Any) -> Put:
        """Store the bytes under `key`, with `about` as `Storage.put` takes it.

        Raises `StorageDamaged` where the bucket states another checksum, and what `Storage.signed_put` raises.
        """
        if stored.length > _MOST_BYTES or not await self._may_try(storage):
            return Put.NOT_TRIED
        answer = await self._send(storage, key, stored, about)
        end = Put.FAILED if answer is None else answer.put
        if end is Put.FAILED:
            self._rest()
        if answer and end is Put.TAKEN and answer.sha256 not in {None, stored.sha256_base64}:
            raise StorageDamaged(f"{storage.name} states that it stored other bytes")
        return end

    def leave(self) -> None:
        """Use no short cut again: the bucket refused one, and took the same bytes from `Storage.put`."""
        if self._is_verified:
            self._is_verified = False
            _log.info("quick_put_left", reason="the bucket takes no PUT with a signed URL")

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
        key, damaged = f"submissions/proof-{secrets.token_hex(8)}", _Damaged(b"genqueue looks whether this is verified")
        about = {"content_type": "text/plain", "metadata": {}}
        answer = await self._send(storage, key, damaged, about)
        if answer is None or answer.put is Put.FAILED:
            self._rest()
            return None
        if answer.put is Put.TAKEN:
            with suppress(StorageError):
                await anyio.to_thread.run_sync(storage.delete, key)
        if not is_damage(answer.code):
            _log.info("quick_put_left", reason="the bucket does not refuse damaged bytes that come with a signed URL")
            return False
        return True

    async def _send(self, storage: Storage, key: str, stored: Stored, about: Mapping[str, Any]) -> _Answer | None:
        """PUT the bytes and return the answer; None where no whole one came. Raises what `signed_put` raises."""
        signed = await _signed(storage, key, stored, about)
        url = yarl.URL(signed.url, encoded=True)  # aiohttp would rewrite escapes that were signed
        headers = {**signed.headers, "Content-Length": str(stored.length)}
        try:
            with anyio.fail_after(self._seconds):
                body = _body(stored.rewound(), stored.length)
                session = self._open(storage)
                async with session.put(url, data=body, headers=headers, allow_redirects=False) as answer:
                    return await _read(answer)
        except Exception:  # noqa: BLE001 - `Storage.put` says what is wrong; an error here may quote the signed URL
            return None

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
    return await anyio.to_thread.run_sync(lambda: storage.signed_put(key, stored, **about))


def _body(file: BinaryIO, length: int) -> "bytes | AsyncIterator[bytes]":
    return file.read() if length <= _PIECE_BYTES else _pieces(file)


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := file.read(_PIECE_BYTES):
        yield piece


async def _read(answer: aiohttp.ClientResponse) -> _Answer:
    body = b""
    while (chunk := await answer.content.read(_ANSWER_BYTES)) and len(body) < _ANSWER_BYTES:
        body += chunk
    code = _CODE.search(body)
    return _Answer(answer.status, code[1].decode() if code else "", answer.headers.get("x-amz-checksum-sha256"))
