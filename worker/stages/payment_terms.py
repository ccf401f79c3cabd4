"""The terms on which an account pays: prices, the lease of a paid call, and how late its purchase may show."""

from decimal import Decimal
from functools import partial

from shared.db.engine import Connection
from shared.db.payments.intents import PaymentTerms, Request
from shared.db.payments.offers import Book
from shared.requests import GenerationRequest
from worker.leases import paid_call_lease
from worker.providers.contract import OfferWire
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount


def payment_terms(runtime: Runtime, account: ServedAccount) -> PaymentTerms:
    """Return the terms on which `account` pays now."""
    book = runtime.book(account)
    return PaymentTerms(
        price=partial(price_of, account, book),
        unpriced=partial(_unpriced, book),
        refresh=book.refresh if isinstance(account.wire, OfferWire) else _nothing_to_read,
        allow_unknown_price=account.settings.allow_unknown_price,
        send_within_seconds=runtime.settings.send_within_seconds,
        lease_seconds=paid_call_lease(runtime.settings, account),
        quiet_seconds=runtime.quiet_after(account),
        key_id=account.key_id,
    )


def price_of(account: ServedAccount, book: Book, request: Request, count: int) -> Decimal | None:
    """Return the price; 0 for an unreadable row, which is never sent and fails."""
    try:
        return account.price(request, count, book.offers)
    except (ValueError, LookupError):
        return Decimal(0)


def _unpriced(book: Book, request: Request) -> str:
    return book.offers.unpriced(GenerationRequest.model_validate(request))


def _nothing_to_read(_connection: Connection) -> bool:
    return True
