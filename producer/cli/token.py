"""`genqueue token`: who may use the HTTP API and the dashboard, for what, and for how much money."""

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Final

import typer
from pydantic import SecretStr

from producer.cli.session import ExitCode, client, errors, fail, told
from producer.cli.tables import AsJson, show
from producer.money import parse_caps, said_caps
from shared import catalog
from shared.db.tokens import Token, TokenTerms, said_scopes
from shared.tokens import BACKEND, Scope

token = typer.Typer(
    name="token",
    help="""Make, list, rotate and revoke tokens of the HTTP API and the dashboard.

    A token has scopes, a spending cap and an end. It is shown once.

    Example: genqueue token create shop --max-cost bloom=20
    """,
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    rich_markup_mode=None,
)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}", re.ASCII)
_PREFIX: Final = re.compile(r"[^\s\x00]{0,100}")
_SCOPES: Final = ", ".join(Scope)
_SPENDING: Final = frozenset({Scope.JOBS_WRITE, Scope.MONEY_SPEND, Scope.OPS, Scope.ADMIN})


def _scope(given: str) -> Scope:
    """Return the scope of that name. Without this, a wrong one was told in the words of a library."""
    if given not in set(Scope):
        raise typer.BadParameter(f"{given[:40]!r} is no scope; they are {_SCOPES}")
    return Scope(given)


Which = Annotated[str, typer.Argument(metavar="TOKEN", help="the token's id, or its name if only one has it")]
Days = Annotated[int, typer.Option(min=0, max=3650, help="the token ends after this many days; 0 = never")]


@token.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="what it is for, such as shop; shown in the audit")],
    scope: Annotated[
        list[Scope] | None,
        typer.Option(parser=_scope, metavar="SCOPE", help=f"may be repeated: {_SCOPES}; default: a backend's"),
    ] = None,
    max_cost: Annotated[
        list[str] | None,
        typer.Option(metavar="PROVIDER=AMOUNT", help="the most that it may order in any 24 hours; may be repeated"),
    ] = None,
    no_cap: Annotated[bool, typer.Option("--no-cap", help="let it order without a limit")] = False,
    batches: Annotated[str, typer.Option(metavar="PREFIX", help="only batches whose name begins so")] = "",
    posts: Annotated[int, typer.Option(min=1, max=10_000, help="requests that it may send each second")] = 60,
    days: Days = 365,
) -> None:
    """Make a token and print it, once. The database keeps only its hash.

    A token that may add jobs needs a cap: --max-cost, for each provider that it
    may order from, or --no-cap. A provider that no cap names costs it nothing
    or is refused.

    Example: genqueue token create shop --max-cost bloom=20 --batches shop-
    """
    scopes = frozenset(scope or BACKEND)
    if not _NAME.fullmatch(name):
        fail("a token's name has up to 60 letters, digits, dots, dashes and underscores", ExitCode.WRONG_INPUT)
    if not _PREFIX.fullmatch(batches):
        fail("a prefix of batch names has no spaces and at most 100 characters", ExitCode.WRONG_INPUT)
    with told():
        caps = _caps(scopes, max_cost or [], no_cap=no_cap)
    terms = TokenTerms(name, scopes, caps, batches, posts, _lifetime(days))
    with client(context) as opened:
        _hand_over(*opened.create_token(terms), f"{name} may: {said_scopes(scopes)}")


def _caps(scopes: frozenset[Scope], max_cost: list[str], *, no_cap: bool) -> dict[str, Decimal] | None:
    if no_cap and max_cost:
        fail("--no-cap and --max-cost contradict each other", ExitCode.WRONG_INPUT)
    if no_cap:
        return None
    if scopes & _SPENDING and not max_cost:
        fail("say what it may spend in a day: --max-cost bloom=20, or --no-cap", ExitCode.WRONG_INPUT)
    return parse_caps(max_cost, providers=catalog.names())


def _lifetime(days: int) -> timedelta | None:
    return timedelta(days=days) if days else None


def _hand_over(named: str, secret: SecretStr, said: str) -> None:
    typer.echo(secret.get_secret_value())
    errors().print(f"{named} {said}. This is the only time that the token is shown.")


@token.command(name="list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List tokens, newest first, with what each ordered within 24 hours. Secrets are not shown.

    Example: genqueue token list
    """
    with client(context) as opened:
        rows = [_row(one, spent) for one, spent in opened.tokens()]
    names = ("id", "name", "state", "ends", "used", "spent", "cap", "batches", "scopes")
    show(rows, names, as_json=as_json)


def _row(one: Token, spent: Mapping[str, Decimal]) -> dict[str, Any]:
    state = "live" if one.alive else "revoked" if one.revoked_at else "expired"
    return {
        "id": one.id,
        "name": one.name,
        "state": state,
        "ends": one.expires_at,
        "used": one.last_used_at,
        "spent": said_caps(spent) if spent else "",
        "cap": "no cap" if one.caps is None else said_caps(one.caps) if one.caps else "0",
        "batches": f"{one.batch_prefix}*",
        "scopes": said_scopes(one.scopes),
    }


@token.command()
def rotate(
    context: typer.Context,
    which: Which,
    keep_days: Annotated[int, typer.Option(min=0, max=90, help="the old token lives for this many days more")] = 7,
    days: Days = 365,
) -> None:
    """Replace a token by one of the same terms.

    The new token is printed, once. The old one ends a week later; both spend from one cap.

    Example: genqueue token rotate shop
    """
    with client(context) as opened:
        made = opened.rotate_token(which, keep=timedelta(days=keep_days), lifetime=_lifetime(days))
    _hand_over(*made, f"has the terms of {which}, which ends in {keep_days} days")


@token.command()
def revoke(context: typer.Context, which: Which) -> None:
    """End a token. Each API process and dashboard notices within 30 seconds.

    Example: genqueue token revoke shop
    """
    with client(context) as opened:
        ended = opened.revoke_token(which)
    errors().print(f"{ended.id} {ended.name} is revoked")
