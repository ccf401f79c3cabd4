"""Looks at a provider within the account's rate windows: each takes its place there before it is sent."""

from collections.abc import Mapping
from typing import Any, cast

from shared.db import rate_windows
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount
from worker.transport.api_get import ApiGet
from worker.transport.paid_post import Lost, PaidReply


def metered(runtime: Runtime, account: ServedAccount) -> ApiGet:
    """Return a reader that takes a look of the account's windows before each request."""
    return cast("ApiGet", _Metered(runtime, account))


async def take_look(runtime: Runtime, account: str) -> bool:
    """Count one look in the account's windows; False if they have no room."""
    granted, _wait = await runtime.in_transaction(rate_windows.grant, account=account, kind="poll", wanted=1)
    return granted > 0


class _Metered:
    """An `ApiGet` that takes a look before each request, because one reading may need many."""

    def __init__(self, runtime: Runtime, account: ServedAccount) -> None:
        self._runtime = runtime
        self._account = account

    async def get(self, url: str, *, headers: Mapping[str, str], params: Mapping[str, Any]) -> PaidReply | Lost:
        """GET `url` within the windows; `Lost` if they have no room."""
        if not await take_look(self._runtime, self._account.name):
            return Lost("the account's rate windows have no room")
        return await self._account.get.get(url, headers=headers, params=params)
