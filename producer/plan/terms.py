"""The terms on which an account buys, as far as a plan needs them.

They are what workers said. For an account of which no worker has said anything, they are this process's settings.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from shared.db.accounts import AccountTerms
from shared.db.read.planning import Standing
from shared.settings import Settings


def known_terms(settings: Settings, standings: Mapping[str, Standing]) -> dict[str, AccountTerms]:
    """Return the terms by account; accounts of which nobody knows them are left out. Workers decide, for they buy."""
    found = {
        name: AccountTerms(given.prices, given.brand_session_id is not None, given.allow_unknown_price)
        for name, given in settings.accounts.items()
    }
    return found | {name: _said(standing.terms) for name, standing in standings.items() if standing.terms}


def _said(terms: Mapping[str, Any]) -> AccountTerms:
    prices = {model: Decimal(price) for model, price in terms["prices"].items()}
    return AccountTerms(prices, terms["has_brand"], terms["allow_unknown_price"])
