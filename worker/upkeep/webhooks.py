"""Sends webhooks: what triggers wrote down is posted at least once, signed, on a schedule of ten tries in 75 hours.

No job's end waits for this. A URL is an address that a person gave, and its name may lead anywhere by the time of a
call, so each connection passes the address guard, and no redirect is followed.
"""

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import aiohttp
import anyio
import httpx
import structlog
import yarl
from anyio.abc import TaskGroup
from pydantic import SecretStr

from shared.db.engine import Connection
from shared.db.webhooks import deliveries, endpoints, settled
from shared.db.webhooks.deliveries import ClaimedDelivery, Reply
from shared.db.webhooks.schedule import SCHEDULE, wait_before
from shared.webhooks import secrets_in_force, signature
from worker.runtime import USER_AGENT, Runtime
from worker.transport.address_guard import AddressGuard, AddressRefused
from worker.transport.download import retry_after_seconds

_log = structlog.get_logger(__name__)
_LOOK_SECONDS: Final = 1.0
_PRUNE_SECONDS: Final = 3600.0
_TOTAL_SECONDS: Final = 15.0
_CONNECT_SECONDS: Final = 5.0
_READ_BYTES: Final = 1024
_AT_ONCE: Final = 40
_EACH: Final = 8
"""Requests at once to one endpoint: a slow receiver must leave room for the others."""
_GONE: Final = 410
_THROTTLED: Final = frozenset({429, 502, 503, 504})


async def tell(runtime: Runtime) -> None:
    """Send webhooks until cancelled. Without a master key nothing is sent, and what is due waits."""
    if not runtime.settings.webhook_key.get_secret_value():
        return
    sender = WebhookSender(runtime, runtime.settings.webhook_key, before=runtime.settings.webhook_key_before)
    try:
        await sender.run()
    finally:
        with anyio.CancelScope(shield=True):
            await sender.close()


@dataclass(slots=True)
class WebhookSender:
    """Claims due deliveries and posts them. `schedule` is that of the tries, in seconds; the key `before` signs too."""

    runtime: Runtime
    key: SecretStr
    schedule: tuple[float, ...] = SCHEDULE
    before: SecretStr | None = None
    _busy: Counter[UUID] = field(default_factory=Counter)
    _session: aiohttp.ClientSession | None = None
    _pruned_at: float = float("-inf")
    _told_at: float = float("-inf")

    async def run(self) -> None:
        """Look every second."""
        async with anyio.create_task_group() as group:
            while True:
                try:
                    await self._prune()
                    more = await self.runtime.one_statement(deliveries.any_due) and await self.look(group)
                except Exception as error:  # noqa: BLE001 - the next look goes on; the work must too
                    _log.warning("webhooks_failed", error=type(error).__name__)
                    more = False
                await anyio.sleep(0 if more else _LOOK_SECONDS)

    async def look(self, group: TaskGroup) -> bool:
        """Tell of settled batches and begin to send what is due; True if there may be more at once."""
        news = await self._tell_settled()
        free = _AT_ONCE - self._busy.total()
        if free <= 0:
            return False
        claimed = await self.runtime.in_transaction(deliveries.claim, most=free, each=_EACH, busy=+self._busy)
        for one in claimed:
            self._busy[one.endpoint_id] += 1
            group.start_soon(self._send, one)
        return bool(news or claimed)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _tell_settled(self) -> int:
        """Look for settled batches, at most once a second: a look costs as much as sending a few deliveries."""
        if anyio.current_time() - self._told_at < _LOOK_SECONDS:
            return 0
        self._told_at = anyio.current_time()
        return await self.runtime.in_transaction(settled.tell)

    async def _prune(self) -> None:
        if anyio.current_time() - self._pruned_at > _PRUNE_SECONDS:
            await self.runtime.in_transaction(deliveries.prune)
            self._pruned_at = anyio.current_time()

    async def _send(self, one: ClaimedDelivery) -> None:
        try:
            reply, wait = await self._post(one)
            await self.runtime.write(self._record, one, reply, wait)
        except Exception as error:  # noqa: BLE001 - its lease ends by itself, and it is sent again
            _log.warning("webhook_not_recorded", delivery=str(one.id), error=type(error).__name__)
        finally:
            self._busy[one.endpoint_id] -= 1

    def _record(self, connection: Connection, one: ClaimedDelivery, reply: Reply, asked_to_wait: float | None) -> None:
        if reply.error is None:
            deliveries.delivered(connection, one, reply)
            return
        wait = wait_before(one.tries, random=self.runtime.random, schedule=self.schedule)
        if wait is not None and asked_to_wait is not None:
            wait = max(wait, asked_to_wait)
        gone = reply.status == _GONE
        over = deliveries.failed(connection, one, reply, None if gone else wait)
        if gone:
            over = endpoints.disable(connection, one.endpoint_id, endpoints.GONE)
        _log.warning(
            "webhook_endpoint_disabled" if over else "webhook_failed" if wait is not None else "webhook_given_up",
            endpoint=str(one.endpoint_id),
            delivery=str(one.id),
            status=reply.status,
            tries=one.tries,
        )

    async def _post(self, one: ClaimedDelivery) -> tuple[Reply, float | None]:
        """Post once; return what came of it, and the seconds that the receiver asks to be left alone."""
        body = json.dumps(one.body(), ensure_ascii=False, separators=(",", ":")).encode()
        began = time.monotonic()
        status, wait, error = None, None, None
        try:
            url = self._guard.check_url(one.url)
            async with self._opened().post(
                yarl.URL(str(url), encoded=True), data=body, headers=self._headers(one, body), allow_redirects=False
            ) as response:
                await response.content.read(_READ_BYTES)
                status = response.status
                wait = retry_after_seconds(response.headers.get("retry-after"), datetime.now(UTC))
        except AddressRefused as refused:
            error = str(refused)
        except (aiohttp.ClientError, TimeoutError, OSError) as broken:
            error = _words(broken)
        if error is None and (status is None or not httpx.codes.is_success(status)):
            error = f"HTTP {status}"
        reply = Reply(round((time.monotonic() - began) * 1000), status, error)
        return reply, wait if status in _THROTTLED else None

    def _headers(self, one: ClaimedDelivery, body: bytes) -> dict[str, str]:
        now = datetime.now(UTC)
        at = int(now.timestamp())
        version, rotations = one.secret_version, one.rotations
        secrets = [
            secret
            for key in (self.key, self.before)
            if key and key.get_secret_value()
            for secret in secrets_in_force(key, one.endpoint_id, version, rotations=rotations, now=one.now)
        ]
        return {
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            "webhook-id": str(one.id),
            "webhook-timestamp": str(at),
            "webhook-signature": signature(secrets, str(one.id), at, body),
        }

    @property
    def _guard(self) -> AddressGuard:
        return AddressGuard(self.runtime.settings.allow_private_urls)

    def _opened(self) -> aiohttp.ClientSession:
        """Return the session, made at first use because it belongs to a running loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._guard.connector(limit=_AT_ONCE, ssl_context=httpx.create_ssl_context()),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=_TOTAL_SECONDS, sock_connect=_CONNECT_SECONDS),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


def _words(error: BaseException) -> str:
    """Name a fault; an address that the guard refused while connecting has words of its own."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, AddressRefused):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return f"no answer within {_TOTAL_SECONDS:g} s" if isinstance(error, TimeoutError) else type(error).__name__
