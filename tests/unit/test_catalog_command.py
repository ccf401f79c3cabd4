"""`genqueue providers`: what a person reads before writing a prompt file, and a program before making one."""

import json

import pytest
import typer
from typer.testing import CliRunner, Result

from producer.cli.providers import providers
from shared import catalog

_EACH = pytest.mark.parametrize("name", catalog.names())


def _run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(providers)
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, list(arguments))


def test_without_a_name_every_provider_is_a_line_with_its_limits() -> None:
    done = _run()
    assert done.exit_code == 0
    lines = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.strip()}
    assert set(catalog.names()) < set(lines)
    assert lines["bloom"][1:] == ["async", "5", "credit", "8", "120/minute"]
    assert lines["banatie"][1:] == ["async", "1", "unbilled", "4", "100/hour"]
    assert lines["posteverywhere"][1:7] == ["sync", "1", "credit", "1", "60/minute,", "1000/hour,"]
    assert "50/hour (paid)" in done.stdout


@_EACH
def test_with_a_name_every_parameter_of_it_fits_in_eighty_columns(name: str) -> None:
    done = _run(name)
    assert done.exit_code == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    words = done.stdout.split()
    for parameter in catalog.get(name).parameters:
        for part in parameter.flat():
            assert part.field in words
            assert part.wire in words or part.field == f"options.{part.wire}"
            for value in part.values:
                assert value in done.stdout


def test_loose_values_defaults_prices_and_refusals_are_told() -> None:
    assert "the queue checks the" in _run("getimg").stdout
    assert "loose" not in _run("bloom").stdout
    assert "(an image: 2K 1 credit, 4K 2 credits)" in _run("bloom").stdout
    assert "the account's" in _run("bloom").stdout
    assert "options.meta is refused: the worker keeps the job's id there" in _run("banatie").stdout
    assert "options.stream is refused" in _run("openrouter").stdout


@_EACH
def test_as_json_each_parameter_is_an_object(name: str) -> None:
    rows = [json.loads(line) for line in _run(name, "--json").stdout.splitlines()]
    flat = [part for parameter in catalog.get(name).parameters for part in parameter.flat()]
    assert [(row["field"], row["wire"], row["loose"]) for row in rows] == [(p.field, p.wire, p.loose) for p in flat]


def test_as_json_each_provider_is_an_object() -> None:
    rows = [json.loads(line) for line in _run("--json").stdout.splitlines()]
    assert [row["name"] for row in rows] == list(catalog.names())
    assert all(row["title"] and row["base_url"].startswith("https://") for row in rows)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    done = _run("dalle")
    assert done.exit_code == 2
    assert "known: banatie, bloom, getimg, openrouter, posteverywhere" in done.stderr
