"""One row of a prompt file made a prepared row: complete, possible for its provider, its id unique."""

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from shared import catalog, metadata
from shared.catalog import Provider
from shared.prompt_rows.columns import KNOWN, OPTION_PREFIX, is_option, unknown_faults
from shared.prompt_rows.faults import Faults, shown
from shared.prompt_rows.ids import CustomIds, custom_id_complaint
from shared.prompt_rows.references import LocalFiles
from shared.prompt_rows.rules import MissingValueError, RowRules
from shared.requests import GenerationRequest, RequestFault, faults_of, fingerprint

PRIORITY_MIN: Final = -32_768
PRIORITY_MAX: Final = 32_767


_NO_RULES: Final = RowRules()


class PreparedRow(NamedTuple):
    """A row that its provider can do: what a job is made of."""

    line: int
    custom_id: str
    provider: str
    request: bytes  # canonical JSON of a GenerationRequest
    fingerprint: bytes  # 32 bytes
    priority: int
    metadata: bytes = b""  # a JSON object, or nothing


class RowPreparer:
    """Turns rows into prepared rows and everything wrong with them into faults.

    Paths of local reference images are relative to `folder`; None = local files are not read.
    Raises `shared.catalog.UnknownProviderError` if an allowed provider does not exist.
    """

    def __init__(
        self,
        default_provider: str | None,
        providers: Collection[str],
        faults: Faults,
        folder: Path | None = None,
        rules: RowRules = _NO_RULES,
    ) -> None:
        self._default = default_provider
        self._providers = catalog.chosen(providers)
        self._faults = faults
        self._files = LocalFiles(folder)
        self._rules = rules
        self._ids = CustomIds()

    def prepare(self, line: int, values: dict[str, Any]) -> PreparedRow | None:
        """Return the prepared row, or None after recording each of its faults.

        `values` come by column; an absent column is absent, not None.
        """
        found = [RequestFault(*fault) for fault in unknown_faults(self._rules.unknown(values), self._rules.ways)]
        columns = frozenset(values)
        if self._rules.columns:
            values = self._renamed(values, found)
        if self._rules.templates:
            values = self._composed(values, found)
        carried = self._carried(values, found)
        given_id = values.pop("custom_id", None)
        custom_id = self._id(line, given_id, found)
        provider = values.pop("provider", self._default)
        priority = values.pop("priority", 0)
        found += self._provider_faults(provider)
        if type(priority) is not int or not PRIORITY_MIN <= priority <= PRIORITY_MAX:
            found.append(RequestFault("priority", f"must be a whole number from {PRIORITY_MIN} to {PRIORITY_MAX}"))
        if self._rules.model is not None:
            values.setdefault("model", self._rules.model)
        request = _request(values, found)
        if request and isinstance(provider, str) and provider in self._providers:
            request = self._checked(request, self._providers[provider], found)
        if request is None or found:
            name = "" if given_id is None else custom_id
            for field, message in found:
                self._faults.add(line, field, message + self._rules.hint(field, columns), name)
            return None
        body = request.canonical()
        kept = metadata.encoded(carried)
        return PreparedRow(line, custom_id, provider, body, fingerprint(provider, body), priority, kept)

    def _renamed(self, values: dict[str, Any], found: list[RequestFault]) -> dict[str, Any]:
        """Return the row under our names; a row that has both names has a fault."""
        for ours, theirs in self._rules.columns.items():
            if ours in values and theirs in values:
                found.append(RequestFault(ours, f"is given, and {shown(theirs)} stands for it too; leave one out"))
        return {self._rules.ours(name): value for name, value in values.items()}

    def _composed(self, values: dict[str, Any], found: list[RequestFault]) -> dict[str, Any]:
        """Return the row with what templates make of it, without the columns that only they use."""
        rules = self._rules
        made: dict[str, str] = {}
        for field, template in rules.templates.items():
            if complaint := rules.twice_made(field, values):
                found.append(RequestFault(field, complaint))
            try:
                made[field] = template.filled(rules.by_both_names(values))
            except MissingValueError as missing:
                found.append(RequestFault(field, _empty(str(missing.args[0]))))
                made |= {field: "-"} if field == "prompt" else {}  # so that the same fault is not told twice
        left = {name: value for name, value in values.items() if name not in rules.used or rules.key_of(name)}
        return left | made

    def _carried(self, values: dict[str, Any], found: list[RequestFault]) -> dict[str, Any]:
        """Take the row's metadata out of its values, and return it."""
        given = values.pop("metadata", None)
        carried = dict(given) if isinstance(given, dict) else {}
        for name in [name for name in values if self._rules.key_of(name)]:
            key = self._rules.key_of(name)
            assert key is not None
            if key in carried:
                found.append(RequestFault(name, f"is in the metadata twice, as {shown(key)}"))
            carried[key] = values.pop(name)
        whole = carried if given is None or isinstance(given, dict) else given
        if whole and (complaint := metadata.complaint(whole)):
            found.append(RequestFault("metadata", complaint))
        return carried

    def _id(self, line: int, given: Any, found: list[RequestFault]) -> str:
        """Return the row's id, made up where `given` is None."""
        if given is None:
            given, first = self._ids.make_up(line)
        elif complaint := custom_id_complaint(given):
            found.append(RequestFault("custom_id", complaint))
            return ""
        else:
            first = self._ids.take(given, line)
        if first:
            found.append(RequestFault("custom_id", f"is that of line {first} as well; give each row its own"))
        return str(given)

    def _provider_faults(self, provider: Any) -> Iterator[RequestFault]:
        known = ", ".join(self._providers)
        if provider is None:
            yield RequestFault(
                "provider", f"is missing: add a column provider or {self._rules.ways.provider}; known: {known}"
            )
        elif not isinstance(provider, str) or provider not in self._providers:
            near = get_close_matches(str(provider).lower(), list(self._providers), n=1)
            yield RequestFault("provider", f"must be one of {known}" + (f"; did you mean {near[0]}?" if near else ""))

    def _checked(self, request: GenerationRequest, provider: Provider, found: list[RequestFault]) -> GenerationRequest:
        request, unread = self._files.resolve(request, provider)
        faults = provider.check(request)
        found += unread
        found += [fault for fault in faults if not (unread and fault.field == "references")]
        return request


def _empty(column: str) -> str:
    name = shown(column)
    return f"is made of {name}, which is empty here; {{{name}|}} leaves it out, {{{name}|white}} says white instead"


def _request(values: dict[str, Any], found: list[RequestFault]) -> GenerationRequest | None:
    given = {name: value for name, value in values.items() if name in KNOWN}
    if len(given) < len(values):
        _fold_options(values, given, found)
    try:
        return GenerationRequest.model_validate(given)
    except ValidationError as error:
        found += faults_of(error)
        return None


def _fold_options(values: dict[str, Any], given: dict[str, Any], found: list[RequestFault]) -> None:
    """Put the values of `options.NAME` columns into the object `options`; each further dot is an object inside it."""
    options = given.get("options", {})
    if not isinstance(options, dict):
        return  # refused by the request itself
    given["options"] = options = dict(options)
    for column, value in values.items():
        if is_option(column) and not _put(options, column.removeprefix(OPTION_PREFIX).split("."), value):
            found.append(RequestFault(column, "is given in options as well"))


def _put(options: dict[str, Any], path: list[str], value: Any) -> bool:
    """Set the member at `path`; say False where something else is there."""
    *outer, name = path
    inner = options
    for key in outer:
        part = inner.get(key, {})
        if not isinstance(part, dict):
            return False
        # A copy: the object may be the caller's own.
        inner[key] = inner = dict(part)
    if name in inner:
        return False
    inner[name] = value
    return True
