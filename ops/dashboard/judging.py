"""Who a sign-in token stands for: the dashboard's own has every right, a token of the queue those of its scopes."""

import contextlib
import hmac
from collections.abc import Callable, Collection, Mapping
from typing import Final

from ops.dashboard.sessions import EVERYTHING, Person, Right
from shared.db import tokens
from shared.db.engine import Engine, transaction
from shared.tokens import Scope

RIGHTS: Final[Mapping[Scope, frozenset[Right]]] = {
    Scope.JOBS_READ: frozenset({Right.SEE}),
    Scope.RESULTS_READ: frozenset({Right.SEE, Right.PICTURES}),
    Scope.MONEY_READ: frozenset({Right.SEE, Right.MONEY}),
    Scope.OPS: frozenset({Right.SEE, Right.OPERATE}),
    Scope.MONEY_SPEND: frozenset({Right.SEE, Right.MONEY, Right.SPEND}),
    Scope.HOOKS: frozenset({Right.SEE, Right.HOOKS}),
    Scope.JOBS_WRITE: frozenset({Right.ENQUEUE}),
    Scope.ADMIN: EVERYTHING,
}
"""What each scope of a token allows on the pages."""


def has_one_of(person: Person, scopes: Collection[Scope]) -> bool:
    """Tell whether a person may do what one of these scopes allows."""
    return any(person.rights >= RIGHTS[scope] for scope in scopes)


def judge(engine: Engine, own_token: str) -> Callable[[str], Person | None]:
    """Return a judge of tokens. One that is bound to a prefix of batches opens nothing: pages show all batches."""

    def judged(given: str) -> Person | None:
        if hmac.compare_digest(given.encode(), own_token.encode()):
            return Person("the holder of the sign-in token", EVERYTHING)
        with transaction(engine) as connection:
            token = tokens.find(connection, given)
        if token is None or not token.alive or token.batch_prefix:
            return None
        # A role that only reads cannot note the use, and may still let people in.
        with contextlib.suppress(Exception), transaction(engine) as connection:
            tokens.used(connection, token)
        rights = frozenset().union(*(RIGHTS.get(scope, frozenset()) for scope in token.scopes))
        return Person(token.name, rights, token)

    return judged
