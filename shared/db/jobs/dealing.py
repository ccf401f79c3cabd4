"""Shares new jobs among the accounts of their provider, in rotation, if a worker has the account's key.

An account counts if a worker had its key within a day. Paused accounts get no jobs while another account can take
them. If a provider has no such account, its jobs wait for the account with the provider's name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from shared import catalog
from shared.account_settings import RateWindow
from shared.db.accounts import AccountRow

_ACCOUNTS = text("""
SELECT provider, coalesce(array_agg(name ORDER BY name) FILTER (WHERE served AND paused_at IS NULL),
  array_agg(name ORDER BY name) FILTER (WHERE served)) AS served, array_agg(name) AS known
FROM (SELECT *, coalesce(seen_at > now() - interval '1 day', false) AS served FROM account) account GROUP BY provider
""")


@dataclass(frozen=True, slots=True)
class Dealing:
    """The accounts that take a provider's new jobs now, by provider."""

    served: Mapping[str, Sequence[str]]
    known: frozenset[str]
    """Every account that is there, served or not."""

    def accounts(self, provider: str) -> Sequence[str]:
        """Return the accounts that a job of `provider` may go to, in rotation order."""
        return self.served.get(provider) or (provider,)

    def account(self, provider: str, position: int) -> str:
        """Return the account of the enqueued row at `position`; the first row is 1."""
        names = self.accounts(provider)
        return names[position % len(names)]


def dealing(connection: Connection) -> Dealing:
    """Return the rule by which jobs enqueued now are shared."""
    rows = connection.execute(_ACCOUNTS).all()
    served = {row.provider: row.served for row in rows if row.served}
    return Dealing(served, frozenset(name for row in rows for name in row.known))


def waiting_account(provider: str) -> AccountRow:
    """Return the account that a provider's jobs wait for until a worker registers it."""
    found = catalog.get(provider)
    windows = tuple(RateWindow(requests=w.requests, seconds=w.seconds, scope=w.scope) for w in found.windows)
    return AccountRow(provider, provider, found.unit, found.concurrency, windows)
