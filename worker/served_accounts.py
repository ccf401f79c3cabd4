"""The accounts for which this worker has keys: their wires, limits and times, made once per process."""

import ssl
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from shared import catalog, trial
from shared.account_settings import AccountSettings, RateWindow
from shared.catalog import Provider
from shared.catalog.offers import NO_OFFERS, Offers, price
from shared.db.accounts import AccountRow, AccountTerms
from shared.db.payments.intents import Request
from shared.key_ids import key_id
from shared.requests import GenerationRequest
from shared.settings import Settings, SettingsError
from worker.providers import Wire, WireSettings, wire_for
from worker.transport.api_get import ApiGet
from worker.transport.paid_post import PaidPost

API_SECONDS = 30.0
"""Time limit in seconds of one look."""
_LOOPBACK = {"localhost", "127.0.0.1", "::1", "[::1]"}


@dataclass(frozen=True, slots=True)
class ServedAccount:
    """One API key as a worker uses it."""

    name: str
    provider: Provider
    wire: Wire
    settings: AccountSettings
    post: PaidPost
    get: ApiGet
    wire_settings: WireSettings
    key_id: str
    """Identifies the key and the server of this account; the key cannot be derived from it."""

    @property
    def can_look(self) -> bool:
        """Whether the provider can be asked for an image later. If not, the answer to the paid call is the result.

        For those who have no key of the account, the catalog says the same (`Provider.is_polled`).
        """
        return self.wire.poll_page > 0

    @property
    def quiet_seconds(self) -> float:
        """From the end of a lost call until the provider shows what it made or charged."""
        given = self.settings.quiet_seconds
        return self.provider.quiet_seconds if given is None else given

    @property
    def quiet_after_call(self) -> float:
        """Seconds from the end of a call on our side until the provider shows its purchase.

        A provider may go on with a call, and bill it, for as long as any call takes.
        """
        return self.quiet_seconds + (self.timeout_seconds if self.wire.find_by == "usage" else 0.0)

    @property
    def slack_seconds(self) -> float:
        """How far the times in the provider's list may differ from ours; its usage has no times."""
        return 0.0 if self.wire.find_by == "usage" else self.quiet_seconds

    def searching(self, get: ApiGet, *, with_deleted: bool = False) -> Wire:
        """Return a wire of this account that asks through `get`, for what was deleted too if `with_deleted`."""
        return wire_for(self.provider.name, replace(self.wire_settings, get=get, with_deleted=with_deleted))

    def reading(self, post: PaidPost) -> Wire:
        """Return a wire of this account that reads an earlier answer: `post` returns that answer and sends nothing."""
        return wire_for(self.provider.name, replace(self.wire_settings, post=post))

    @property
    def timeout_seconds(self) -> float:
        """Wall clock of one paid call."""
        return self.post.timeout_seconds

    @property
    def row(self) -> AccountRow:
        """The account as the database keeps it."""
        return account_row(self.name, self.settings)

    def body(self, request: Request, count: int) -> dict[str, Any]:
        """Return the wire's JSON for `count` images; raises `ValueError` if row and account lack something."""
        defaults = {"brandSessionId": self.settings.brand_session_id} if self.settings.brand_session_id else {}
        wanted = GenerationRequest.model_validate({**request, "n": count})
        return self.provider.body(wanted, defaults)

    def price(self, request: Request, count: int, offers: Offers = NO_OFFERS) -> Decimal | None:
        """Return the most that `count` images can cost, or None if that is unknown."""
        wanted = GenerationRequest.model_validate({**request, "n": count})
        found = price(self.provider, wanted, self.settings.prices, offers)
        return found.amount if found else None


def account_row(name: str, settings: AccountSettings) -> AccountRow:
    """Return the account's row: its limits, or the provider's documented limits by default."""
    provider = catalog.get(settings.provider)
    windows = settings.limits
    if windows is None:
        windows = tuple(RateWindow(requests=w.requests, seconds=w.seconds, scope=w.scope) for w in provider.windows)
    concurrency = settings.concurrency or provider.concurrency
    terms = AccountTerms(settings.prices, settings.brand_session_id is not None, settings.allow_unknown_price)
    return AccountRow(name, provider.name, provider.unit, concurrency, windows, settings.daily_cap, terms)


def serve_accounts(settings: Settings, certificates: ssl.SSLContext) -> dict[str, ServedAccount]:
    """Return by name each configured account that has a key; raises `SettingsError`, which names the fault."""
    found = {}
    guard = trial.read(settings.trial).owns if settings.trial else None
    for name, account in settings.accounts.items():
        if account.api_key is None:
            continue
        provider = catalog.get(account.provider)
        if account.brand_session_id and provider.name != "bloom":
            raise SettingsError(f"account {name!r} sets brand_session_id, which only Bloom has")
        base_url = _checked_base_url(name, account.base_url or provider.base_url, settings.allow_private_urls)
        if guard and not guard(base_url):
            raise SettingsError(f"account {name!r} does not speak to the simulator, in a trial: nothing is started")
        post = PaidPost(
            timeout_seconds=account.timeout_seconds or provider.timeout_seconds,
            connect_seconds=settings.fetch_connect_seconds,
            ssl_context=certificates,
        )
        get = ApiGet(
            timeout_seconds=API_SECONDS, connect_seconds=settings.fetch_connect_seconds, ssl_context=certificates
        )
        means = WireSettings(base_url, account.api_key, post, get, account.media_without_url)
        id_of_key = key_id(base_url, account.api_key.get_secret_value())
        wire = wire_for(provider.name, means)
        found[name] = ServedAccount(name, provider, wire, account, post, get, means, id_of_key)
    return found


def _checked_base_url(account: str, base_url: str, allowed: tuple[str, ...]) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError(f"the base URL of account {account!r} is not an http(s) URL")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK and parts.hostname not in allowed:
        raise SettingsError(
            f"the base URL of account {account!r} is plain http to {parts.hostname}: the API key would be readable; "
            "use https, or list the host in GENQUEUE_ALLOW_PRIVATE_URLS"
        )
    return base_url.rstrip("/")
