"""`genqueue migrate`: the database's schema as this code needs it."""

from ops.cli.join import joined, migrate_quietly
from producer.cli.session import errors, told


def migrate() -> None:
    """Bring the database's schema to what this code needs; safe to run by many at once.

    Example: genqueue migrate
    """
    with told(), joined() as settings:
        migrate_quietly(settings)
    errors().print("the schema is current", markup=False)
