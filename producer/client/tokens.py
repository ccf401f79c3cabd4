"""The part of a `Client` that makes, lists, rotates and revokes tokens of the HTTP API and the dashboard."""

from datetime import timedelta
from decimal import Decimal

from pydantic import SecretStr

from producer.client.connection import Connected
from producer.money import said_caps
from shared.db import audit, tokens
from shared.db.audit import AuditEntry
from shared.db.tokens import Token, TokenTerms, said_scopes


class Tokens(Connected):
    """Tokens; each change is a line in the audit."""

    def create_token(self, terms: TokenTerms) -> tuple[str, SecretStr]:
        """Make a token and return its id and the token, which is never shown again."""
        with self._connection() as connection:
            named, secret = tokens.create(connection, terms)
            caps = "no cap" if terms.caps is None else said_caps(terms.caps)
            said = f"create {named} {terms.name}: {said_scopes(terms.scopes)}; {caps}"
            audit.note(connection, self._token_entry(said), changed=1)
            return named, secret

    def tokens(self) -> list[tuple[Token, dict[str, Decimal]]]:
        """Return the newest thousand tokens, each with what it ordered in 24 hours by provider, in its unit."""
        with self._connection() as connection:
            return [(token, tokens.spent(connection, token)) for token in tokens.listing(connection)]

    def find_token(self, presented: str) -> Token | None:
        """Return the token that a caller presents and record its use; None if there is no such token."""
        with self._connection() as connection:
            found = tokens.find(connection, presented)
            if found is not None and found.alive:
                tokens.used(connection, found)
            return found

    def rotate_token(self, name: str, *, keep: timedelta, lifetime: timedelta | None) -> tuple[str, SecretStr]:
        """Make a token with the same terms, and end the old one after `keep`; raises `NoSuchTokenError`."""
        with self._connection() as connection:
            old = tokens.live(connection, name)
            named, secret = tokens.rotate(connection, old, keep=keep, lifetime=lifetime)
            audit.note(connection, self._token_entry(f"rotate {old.id} {old.name}: {named}"), changed=1)
            return named, secret

    def revoke_token(self, name: str) -> Token:
        """End a token now and return it; raises `NoSuchTokenError`."""
        with self._connection() as connection:
            token = tokens.live(connection, name)
            revoked = tokens.revoke(connection, token)
            audit.note(connection, self._token_entry(f"revoke {token.id} {token.name}"), changed=int(revoked))
            return token

    def _token_entry(self, terms: str) -> AuditEntry:
        return AuditEntry(actor=self.actor, act="token", terms=terms)
