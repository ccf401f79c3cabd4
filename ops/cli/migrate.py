"""`genqueue migrate`: bring the schema to the version that the code needs, and grant rights to roles."""

from collections.abc import Sequence
from typing import Annotated

import typer

from ops.cli.join import decide_purpose, joined, migrate_quietly, owning
from producer.cli.session import ExitCode, errors, fail, told
from shared import trial
from shared.db.roles import KINDS


def migrate(
    grant: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND=ROLE", help=f"give a role the rights of a {', '.join(KINDS)}; may be repeated"),
    ] = None,
) -> None:
    """Bring the database's schema to the version that this code needs; several processes may run it at once.

    Run it as the owner of the tables. With --grant, a role gets exactly the
    rights that a worker, a producer or a viewer needs.

    Example: genqueue migrate --grant worker=genqueue_worker --grant
    viewer=readers
    """
    roles = _roles(grant or ())
    with told(), joined() as settings:
        migrate_quietly(owning(settings), roles)
        if trial.in_force():
            decide_purpose(owning(settings))
    said = "".join(f"; {role} may do what a {kind} needs" for kind, role in roles.items())
    errors().print(f"the schema is current{said}")


def _roles(given: Sequence[str]) -> dict[str, str]:
    """Read KIND=ROLE."""
    found = dict(part.partition("=")[::2] for part in given)
    wrong = [part for part in given if part.partition("=")[0] not in KINDS or not part.partition("=")[2]]
    if wrong or len(found) != len(given):
        fail(f"--grant takes KIND=ROLE, each kind once, where a kind is {' or '.join(KINDS)}", ExitCode.WRONG_INPUT)
    return found
