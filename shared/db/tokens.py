"""Tokens in the database: made, found by what a caller presents, rotated, revoked, and bounded in what they order."""

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from pydantic import SecretStr
from sqlalchemy import Connection, RowMapping, TextClause, text

from shared.tokens import Scope, new_token, token_hash, token_id

_CREATE: Final = text("""
INSERT INTO token (id, secret_hash, name, scopes, batch_prefix, caps, posts_per_second, purse, expires_at)
VALUES (:id, :hash, :name, :scopes, :batch_prefix, CAST(:caps AS jsonb), :posts_per_second, coalesce(:purse, :id),
  now() + :lifetime)
""")
_COLUMNS: Final = """
id, name, scopes, batch_prefix, caps, posts_per_second, purse, created_at, expires_at, revoked_at, last_used_at,
revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) AS alive
"""
_NAMED: Final = 5
"""Tokens of one name that an error lists."""
_BY_ID: Final = text(f"SELECT secret_hash, {_COLUMNS} FROM token WHERE id = :id")
_LIVE: Final = text(f"""
SELECT {_COLUMNS} FROM token WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
  AND (id = :name OR name = :name) ORDER BY id = :name DESC, created_at DESC LIMIT {_NAMED}
""")
_LIST: Final = text(f"SELECT {_COLUMNS} FROM token ORDER BY created_at DESC, id LIMIT 1000")
_REVOKE: Final = text("UPDATE token SET revoked_at = now() WHERE id = :id AND revoked_at IS NULL")
_SHORTEN: Final = text("UPDATE token SET expires_at = least(expires_at, now() + :keep) WHERE id = :id")
# A row that somebody locks to spend is not waited for: the next use writes it.
_USED: Final = text("""
UPDATE token SET last_used_at = now() WHERE id = (
  SELECT id FROM token WHERE id = :id AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
  FOR NO KEY UPDATE SKIP LOCKED)
""")
_LOCK: Final = text("SELECT 1 FROM token WHERE id = :purse FOR NO KEY UPDATE")
# A span of ten minutes counts until all of it is older than a day, so that no 24 hours hold more than the cap.
_SPENT: Final = """
SELECT provider, sum(amount) AS amount FROM token_spending
WHERE purse = :purse AND began_at >= now() - interval '24:10' GROUP BY provider
"""
_SPENT_NOW: Final = text(_SPENT)
_FORGET_AND_SUM: Final = text(f"""
WITH forgotten AS (DELETE FROM token_spending WHERE purse = :purse AND began_at < now() - interval '24:10')
{_SPENT}
""")
_ADD: Final = text("""
INSERT INTO token_spending (purse, provider, began_at, amount)
VALUES (:purse, :provider, date_bin('10 minutes', now(), 'epoch'), :amount)
ON CONFLICT (purse, provider, began_at) DO UPDATE SET amount = token_spending.amount + excluded.amount
""")


class NoSuchTokenError(LookupError):
    """No live token, or more than one, has that id or name."""


class TokenCapError(Exception):
    """An order does not fit under its token's cap; nothing was enqueued. `code` says why."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class TokenTerms:
    """What a token allows. `caps` by provider in its unit, for any 24 hours; None = no cap.

    `batch_prefix` begins the name of every batch that it may touch; empty = all batches.
    """

    name: str
    scopes: frozenset[Scope]
    caps: Mapping[str, Decimal] | None
    batch_prefix: str = ""
    posts_per_second: int = 60
    lifetime: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret. `alive`: neither revoked nor expired when it was read."""

    id: str
    name: str
    scopes: frozenset[Scope]
    caps: Mapping[str, Decimal] | None
    batch_prefix: str
    posts_per_second: int
    purse: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    alive: bool

    def allows(self, scope: Scope) -> bool:
        """Tell whether the token has a scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def covers(self, batch: str) -> bool:
        """Tell whether the token may touch a batch of this name."""
        return batch.startswith(self.batch_prefix)


def create(connection: Connection, terms: TokenTerms, *, purse: str | None = None) -> tuple[str, SecretStr]:
    """Make a token and return its id and the token itself, which cannot be read again."""
    named, secret = new_token()
    connection.execute(
        _CREATE,
        {
            "id": named,
            "hash": token_hash(secret.get_secret_value()),
            "name": terms.name,
            "scopes": sorted(terms.scopes),
            "batch_prefix": terms.batch_prefix,
            "caps": _document(terms.caps),
            "posts_per_second": terms.posts_per_second,
            "purse": purse,
            "lifetime": terms.lifetime,
        },
    )
    return named, secret


def find(connection: Connection, presented: str) -> Token | None:
    """Return the token that a caller presents, also a dead one; None if there is no such token."""
    named = token_id(presented)
    if named is None:
        return None
    row = connection.execute(_BY_ID, {"id": named}).mappings().one_or_none()
    if row is None or not hmac.compare_digest(row["secret_hash"], token_hash(presented)):
        return None
    return _token(row)


def used(connection: Connection, token: Token) -> None:
    """Record that a token is in use, at most once a minute."""
    connection.execute(_USED, {"id": token.id})


def live(connection: Connection, name: str) -> Token:
    """Return the live token of an id, or of a name that only one has; raises `NoSuchTokenError`."""
    found = [_token(row) for row in connection.execute(_LIVE, {"name": name}).mappings()]
    if not found:
        raise NoSuchTokenError(f"there is no live token {name[:80]!r}; `genqueue token list` lists them")
    if len(found) > 1 and found[0].id != name:
        each = ", ".join(f"{one.id} ({_end(one)})" for one in found)
        more = ", ..." if len(found) == _NAMED else ""
        raise NoSuchTokenError(f"several live tokens are called {name[:80]!r}: give the id of one: {each}{more}")
    return found[0]


def _end(one: Token) -> str:
    made = f"made {one.created_at:%Y-%m-%d %H:%M}"
    return f"{made}, ends {one.expires_at:%Y-%m-%d %H:%M}" if one.expires_at else f"{made}, never ends"


def listing(connection: Connection) -> list[Token]:
    """Return the newest thousand tokens, dead ones included, newest first."""
    return [_token(row) for row in connection.execute(_LIST).mappings()]


def revoke(connection: Connection, token: Token) -> bool:
    """End a token now; False if it was revoked before."""
    return connection.execute(_REVOKE, {"id": token.id}).rowcount > 0


def rotate(
    connection: Connection, token: Token, *, keep: timedelta, lifetime: timedelta | None
) -> tuple[str, SecretStr]:
    """Make a token with the same terms, and let the old one live for `keep` more; both spend from one cap."""
    terms = TokenTerms(
        token.name, token.scopes, token.caps, token.batch_prefix, token.posts_per_second, lifetime=lifetime
    )
    connection.execute(_SHORTEN, {"id": token.id, "keep": keep})
    return create(connection, terms, purse=token.purse)


def spent(connection: Connection, token: Token) -> dict[str, Decimal]:
    """Return what the tokens of this one's purse ordered in the last 24 hours, by provider in its unit."""
    return _sums(connection, _SPENT_NOW, token)


def spend(connection: Connection, token: Token, amounts: Mapping[str, Decimal | None]) -> None:
    """Count an order against the token's cap, in the transaction that adds its jobs.

    `amounts` holds the highest cost by provider, None if it has no upper bound. Others with this purse wait until the
    transaction ends. What is ordered counts for 24 hours, also if it is cancelled. Raises `TokenCapError`.
    """
    if token.caps is None:
        return
    connection.execute(_LOCK, {"purse": token.purse})
    before = _sums(connection, _FORGET_AND_SUM, token)
    for provider, amount in sorted(amounts.items()):
        _require_room(token.caps, provider, amount, before.get(provider, Decimal(0)))
        if amount:
            connection.execute(_ADD, {"purse": token.purse, "provider": provider, "amount": amount})


def _sums(connection: Connection, statement: TextClause, token: Token) -> dict[str, Decimal]:
    return {row.provider: row.amount for row in connection.execute(statement, {"purse": token.purse})}


def _require_room(caps: Mapping[str, Decimal], provider: str, amount: Decimal | None, before: Decimal) -> None:
    if amount is None:
        raise TokenCapError(
            "price_unknown", f"nothing bounds what these rows cost at {provider}, and the token has a cap"
        )
    cap = caps.get(provider, Decimal(0))
    if amount and before + amount > cap:
        said = f"{before:f} of {cap:f} are ordered within 24 hours, and this needs up to {amount:f}"
        raise TokenCapError("token_cap_reached", f"the token has a cap at {provider}: {said}")


def _token(row: RowMapping) -> Token:
    values = {name: value for name, value in row.items() if name != "secret_hash"}
    scopes = frozenset(Scope(one) for one in row["scopes"])
    caps = None if row["caps"] is None else {name: Decimal(cap) for name, cap in row["caps"].items()}
    return Token(**{**values, "scopes": scopes, "caps": caps})


def _document(caps: Mapping[str, Decimal] | None) -> str | None:
    return None if caps is None else json.dumps({provider: f"{cap:f}" for provider, cap in caps.items()})


def said_scopes(scopes: Sequence[Scope] | frozenset[Scope]) -> str:
    """Return scopes on one line, in the order of `Scope`."""
    return " ".join(scope for scope in Scope if scope in scopes)
