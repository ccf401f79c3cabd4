"""`genqueue providers`: what each provider accepts, its limits and its charges, from the catalog."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from producer.cli.session import ExitCode, fail
from producer.cli.tables import AsJson, show
from producer.cli.terminal import Terminal, styled, visible
from shared import catalog
from shared.catalog import DocumentedWindow, Parameter, Provider

_PERIODS: Final = {60.0: "minute", 3600.0: "hour"}
_OVERVIEW: Final = ("name", "kind", "images", "unit", "concurrency", "windows")


def providers(
    name: Annotated[str | None, typer.Argument(help="one provider, with all its parameters")] = None,
    as_json: AsJson = False,
) -> None:
    """List the providers and their limits, or all parameters that one of them accepts.

    Example: genqueue providers bloom
    """
    if name is None:
        also = ("title", "timeout_seconds", "base_url", "key_help_url")
        show(map(_facts, map(catalog.get, catalog.names())), _OVERVIEW, as_json=as_json, also=also)
        return
    try:
        provider = catalog.get(name)
    except catalog.UnknownProviderError as error:
        fail(str(error), ExitCode.WRONG_INPUT)
    if as_json:
        for parameter in _parameters(provider):
            typer.echo(json.dumps(_parameter_facts(parameter)))
    else:
        _print(provider)


def _facts(provider: Provider) -> dict[str, Any]:
    return {
        "name": provider.name,
        "title": provider.title,
        "kind": provider.kind,
        "images": provider.max_images,
        "unit": provider.unit,
        "windows": ", ".join(map(_window, provider.windows)),
        "concurrency": provider.concurrency,
        "timeout_seconds": provider.timeout_seconds,
        "base_url": provider.base_url,
        "key_help_url": provider.key_help_url,
    }


def _window(window: DocumentedWindow) -> str:
    period = _PERIODS.get(window.seconds, f"{window.seconds:g} s")
    return f"{window.requests}/{period}{' (paid)' if window.scope == 'submit' else ''}"


def _parameters(provider: Provider) -> Iterator[Parameter]:
    for parameter in provider.parameters:
        yield from parameter.flat()


def _parameter_facts(parameter: Parameter) -> dict[str, Any]:
    return {
        "field": parameter.field,
        "wire": parameter.wire,
        "type": parameter.type,
        "required": parameter.required,
        "from_account": parameter.from_account,
        "minimum": parameter.minimum,
        "maximum": parameter.maximum,
        "values": list(parameter.values),
        "example": parameter.example,
        "default": parameter.default,
        "prices": parameter.prices,
        "loose": parameter.loose,
    }


def _print(provider: Provider) -> None:
    console = Terminal()
    windows = _facts(provider)["windows"] or "no documented rate limit"
    images, calls = provider.max_images, provider.concurrency
    bill = "unbilled" if provider.unit == "unbilled" else f"billed in {provider.unit}"
    console.print(
        styled(provider.title, "bold"),
        f": {'one image' if images == 1 else f'up to {images} images'} a call, {windows}, "
        f"{calls} call{'s' * (calls > 1)} at once, {bill}",
        sep="",
    )
    shown = list(_parameters(provider))
    columns = {"takes": _takes_and_costs, "default": _default, "loose": _loose}
    used = {title: text for title, text in columns.items() if any(map(text, shown))}
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    table.add_column("field, wire name", no_wrap=True)
    for title in used:
        table.add_column(title, overflow="fold", min_width=5, ratio=3 if title == "takes" else None)
    for parameter in shown:
        table.add_row(_names(parameter), *(visible(text(parameter), keep_lines=True) for text in used.values()))
    console.print(table)
    if "loose" in used:
        console.print("loose: the values known today; the queue checks the form, the provider checks the value")
    for wire, reason in provider.ours.items():
        console.print(f"options.{wire} is refused: {reason}")


def _names(parameter: Parameter) -> Text:
    plain = parameter.field.removeprefix("options.") == parameter.wire
    wire = () if plain else ("\n  ", styled(parameter.wire, "dim"))
    return Text.assemble(visible(parameter.field), *wire)


def _takes_and_costs(parameter: Parameter) -> str:
    return f"{_takes(parameter)}\n({parameter.prices})" if parameter.prices else _takes(parameter)


def _takes(parameter: Parameter) -> str:
    if parameter.type == "list":
        return f"{_most(parameter.maximum)}{parameter.items}"
    if parameter.type == "object":
        return (
            "an object of anything" if not parameter.members else f"an object{' of these and others' * parameter.open}"
        )
    if parameter.values:
        return ", ".join(parameter.values)
    if parameter.type == "integer":
        bounded = parameter.maximum is not None
        return f"{parameter.minimum} to {parameter.maximum}" if bounded else "a whole number"
    if parameter.type == "text":
        example = f", such as {parameter.example}" if parameter.example else ""
        return f"text{f' of at most {parameter.maximum} characters' if parameter.maximum else ''}{example}"
    return "true or false" if parameter.type == "boolean" else "a UUID"


def _most(maximum: int | None) -> str:
    return f"at most {maximum} " if maximum else ""


def _default(parameter: Parameter) -> str:
    if parameter.required:
        return "the account's" if parameter.from_account else "required"
    if parameter.default is None:
        return ""
    return str(parameter.default).lower() if isinstance(parameter.default, bool) else str(parameter.default)


def _loose(parameter: Parameter) -> str:
    return "yes" if parameter.loose else ""
