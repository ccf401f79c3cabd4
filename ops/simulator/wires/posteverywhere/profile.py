"""What ``GET /me`` tells of a PostEverywhere key: its organization, its plan and what is left of its quota."""

from decimal import Decimal
from typing import Any

from ops.simulator.accounts import SimulatedAccount
from ops.simulator.draws import uuid4_like

_EPOCH = "2026-01-01T00:00:00.000Z"


def profile_json(account: SimulatedAccount, spent: Decimal) -> dict[str, Any]:
    """Return the profile; ``spent`` are the credits used, and limit minus used is what is left."""
    entitled = not account.terms.payment_required
    scopes = ["read", "write"] if account.terms.forbidden else ["read", "write", "ai"]
    key = account.key
    return {
        "api_key": {
            "id": uuid4_like("key", key),
            "key_prefix": key[:12],
            "name": key,
            "scopes": scopes,
            "last_used_at": None,
            "created_at": _EPOCH,
            "expires_at": None,
        },
        "scopes": scopes,
        "user": {"id": 1, "email": "simulator@posteverywhere.example", "name": key},
        "organization": {
            "id": uuid4_like("organization", key),
            "name": "Simulated",
            "subscription_plan": "GROWTH",
            "subscription_status": "active" if entitled else "past_due",
            "subscription_source": "stripe",
            "trial_end": None,
            "current_period_end": None,
            "cancel_at_period_end": False,
            "entitled": entitled,
        },
        "workspace": {"id": uuid4_like("workspace", key), "name": "Simulated"},
        "quota": {
            "accounts": {"used": 0, "limit": 25},
            "ai_credits": {"used": int(spent), "limit": int(spent + account.balance), "bonus": 0},
            "storage_bytes": {"used": 0, "limit": 26_843_545_600},
            "team_seats": {"limit": 3},
        },
        "stats": {"posts_last_30d": 0, "total_posts": 0},
    }
