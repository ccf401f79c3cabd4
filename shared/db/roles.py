"""Roles of the database: the rights of a worker, a producer, a viewer and a caller, granted by the owner of the tables.

    owner      makes and changes tables: `genqueue migrate`
    worker     reads, and writes rows; cannot change, drop or empty a table. For workers, and for people who resolve,
               retry, cancel, prune and erase
    producer   reads, and enqueues; cannot change a submission, an image or the ledger
    viewer     reads
    caller     only calls the SQL function `enqueue`, in its own transactions; reads and writes no table of ours

None needs to be a superuser, and none but the owner may own a table.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sqlalchemy import Connection, Engine, text

from shared.db.engine import transaction
from shared.db.schema import SchemaError

KINDS: Final = ("worker", "producer", "viewer", "caller")
_ROLE = text("""
SELECT r.rolsuper, r.rolname = current_user OR EXISTS (
  SELECT FROM pg_class c WHERE c.relowner = r.oid AND c.relnamespace = to_regnamespace(quote_ident(current_schema()))
) AS owns, quote_ident(r.rolname) AS quoted
FROM pg_roles r WHERE r.rolname = :role
""")
_HERE = text("SELECT quote_ident(current_schema()) AS schema, quote_ident(current_database()) AS database")
_TABLES = text("""
SELECT c.relname AS name, quote_ident(c.relname) AS quoted FROM pg_class c
WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema())) AND c.relkind = 'r'
  AND pg_has_role(c.relowner, 'USAGE') ORDER BY c.relname
""")
_ALLOWED = text("""
SELECT has_table_privilege(:role, 'alembic_version', 'SELECT')
  OR has_function_privilege(:role, 'enqueue(text, jsonb, jsonb)', 'EXECUTE')
""")
_ENQUEUE: Final = "enqueue(text, jsonb, jsonb)"
_HAS_ENQUEUE = text(f"SELECT to_regprocedure('{_ENQUEUE}') IS NOT NULL")
_WRITE: Final = "SELECT, INSERT, UPDATE, DELETE"
# By table. Any other table, even a later one, can be written by a worker and read by the others.
_WORKER: Final[Mapping[str, str]] = {
    "alembic_version": "SELECT",
    "ledger": "SELECT, INSERT, DELETE",  # a line is never changed; it leaves after it is rolled up
}
_PRODUCER: Final[Mapping[str, str]] = {
    "account": "SELECT, INSERT",
    "batch": "SELECT, INSERT, UPDATE (on_unknown, caps)",
    # A raised cap and a changed policy put jobs back in line.
    "job": "SELECT, INSERT, UPDATE (on_hold, due_at, deadline_at)",
    "job_metadata": "SELECT, INSERT, UPDATE (metadata)",  # `enqueue --changed`
    "job_event": "SELECT, INSERT",
    "audit": "SELECT, INSERT, UPDATE (changed, unpriced, worst_cost)",  # a command of many chunks adds to its own line
    "token": "SELECT, UPDATE (last_used_at)",
    "token_spending": "SELECT, INSERT, UPDATE, DELETE",
}


def grant(engine: Engine, roles: Mapping[str, str]) -> None:
    """Give each kind's role (kind -> role name) exactly its rights on our tables, and revoke all others.

    The connection is the owner's. Raises `SchemaError` if a kind or role does not exist, if a role owns tables or is a
    superuser, or if nothing is migrated yet.
    """
    with transaction(engine) as connection:
        here = connection.execute(_HERE).one()
        if here.schema is None:
            raise SchemaError("there are no tables yet: run `genqueue migrate` first")
        for kind, role in roles.items():
            quoted = _checked(connection, kind, role)
            for statement in _statements(connection, kind, quoted, here):
                connection.execute(text(statement))


def is_granted(engine: Engine, role: str) -> bool:
    """Tell whether a role has any granted rights on our tables."""
    with transaction(engine) as connection:
        return bool(connection.execute(_ALLOWED, {"role": role}).scalar_one())


def _checked(connection: Connection, kind: str, role: str) -> str:
    """Return the role's name as SQL writes it."""
    if kind not in KINDS:
        raise SchemaError(f"{kind!r} is not a kind of role: there are {', '.join(KINDS)}")
    found = connection.execute(_ROLE, {"role": role}).one_or_none()
    if found is None:
        raise SchemaError(f"there is no role {role!r}: an administrator runs CREATE ROLE {role} LOGIN PASSWORD '...'")
    if found.rolsuper or found.owns:
        what = "is a superuser" if found.rolsuper else "owns the tables"
        raise SchemaError(f"the role {role!r} {what}, so that no grant could bound it: name another")
    return str(found.quoted)


def _statements(connection: Connection, kind: str, role: str, here: Any) -> Iterator[str]:
    usual = _WRITE if kind == "worker" else "SELECT"
    special = {"worker": _WORKER, "producer": _PRODUCER}.get(kind, {})
    yield f"GRANT USAGE ON SCHEMA {here.schema} TO {role}"
    if connection.execute(_HAS_ENQUEUE).scalar_one():  # a schema that is still to be migrated has none
        yield f"REVOKE ALL ON FUNCTION {_ENQUEUE} FROM {role}"
        if kind != "viewer":
            yield f"GRANT EXECUTE ON FUNCTION {_ENQUEUE} TO {role}"
    for table in connection.execute(_TABLES).all():
        yield f"REVOKE ALL ON {table.quoted} FROM {role}"
        if kind != "caller":
            yield f"GRANT {special.get(table.name, usual)} ON {table.quoted} TO {role}"
    yield f"ALTER DEFAULT PRIVILEGES IN SCHEMA {here.schema} REVOKE ALL ON TABLES FROM {role}"
    if kind != "caller":
        yield f"ALTER DEFAULT PRIVILEGES IN SCHEMA {here.schema} GRANT {usual} ON TABLES TO {role}"
