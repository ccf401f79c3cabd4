"""The pages about the HTTP API that its own code writes: the contract, and a reference for people."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from producer.api.app import endpoints, openapi_document
from producer.api.problems import PROBLEMS
from shared.tokens import Scope

_NO_MODELS: Final = frozenset({"Problem", "HTTPValidationError", "ValidationError"})


def openapi() -> str:
    """Return the contract as a file: sorted by nothing, so that it reads in the order of the code."""
    return json.dumps(openapi_document(), indent=1, ensure_ascii=False) + "\n"


def reference() -> str:
    """Return the reference of every request, document and problem code."""
    document = openapi_document()
    lines = [
        "# HTTP API: reference",
        "",
        "Every request, with the scope that its token needs; a token with `admin` may do all of it.",
        "[The HTTP API](api.md) explains how to use them. This page is generated from `producer/api`; the contract",
        "itself is [openapi.json](openapi.json), which the API serves as `/v1/openapi.json`.",
        "",
        "| request | scope | what it does |",
        "|---|---|---|",
        *_scopes(),
        "",
        "## Requests",
        "",
        *_requests(document),
        "## Documents",
        "",
        *_documents(document),
        "## Problem codes",
        "",
        "| code | status | meaning |",
        "|---|---|---|",
        *(f"| `{code}` | {status} | {title} |" for code, (status, title) in PROBLEMS.items()),
    ]
    return "\n".join(lines).rstrip() + "\n"


def scope_table() -> dict[tuple[str, str], Scope | None]:
    """Return (method, path) -> the scope that its caller needs, None where any token will do."""
    return {
        (method, route.path_format): scope
        for route, scope, needs_token in endpoints()
        if needs_token
        for method in sorted(route.methods or ())
    }


def _scopes() -> Iterator[str]:
    for route, scope, needs_token in endpoints():
        method = min(route.methods or ())
        needed = (f"`{scope}`" if scope else "any") if needs_token else "no token"
        yield f"| `{method} {route.path_format}` | {needed} | {_first_sentence(route.description)} |"


def _requests(document: Mapping[str, Any]) -> Iterator[str]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"### `{method.upper()} {path}`"
            yield ""
            yield operation.get("description", "")
            yield ""
            yield from _parameters(operation)
            yield f"Answers {', '.join(_answers(operation))}."
            yield ""


def _parameters(operation: Mapping[str, Any]) -> Iterator[str]:
    given = [one for one in operation.get("parameters", ()) if one["in"] != "path"]
    body = operation.get("requestBody", {}).get("content", {})
    if body:
        kinds = (f"`{kind}` {_type(content['schema'])}".strip() for kind, content in body.items())
        yield f"Body: {', '.join(kinds)}."
        yield ""
    if given:
        yield "| parameter | in | type | meaning |"
        yield "|---|---|---|---|"
        for one in given:
            said = one.get("description") or one["schema"].get("description", "")
            yield f"| `{one['name']}` | {one['in']} | {_type(one['schema'])} | {said} |"
        yield ""


def _answers(operation: Mapping[str, Any]) -> Iterator[str]:
    for status, said in operation["responses"].items():
        if status[-1].isdigit():
            content: Mapping[str, Any] = next(iter(said.get("content", {}).values()), {})
            yield f"{status} {_type(content.get('schema', {}))}".strip()


def _documents(document: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in sorted(document["components"]["schemas"].items()):
        if name in _NO_MODELS:
            continue
        yield f"### {name}"
        yield ""
        yield schema.get("description", "")
        yield ""
        yield "| member | type | meaning |"
        yield "|---|---|---|"
        for member, kind in schema.get("properties", {}).items():
            yield f"| `{member}` | {_type(kind)} | {kind.get('description', '')} |"
        yield ""


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if "enum" in schema:
        return " ".join(f"`{value}`" for value in schema["enum"] if value is not None)
    return str(schema.get("format") or schema.get("type", ""))


def _first_sentence(text: str) -> str:
    return " ".join(text.split()).partition(". ")[0].rstrip(".").replace("|", "or")
