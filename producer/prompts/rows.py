"""One row of a prompt file made a prepared row: complete, possible for its provider, its id unique."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from producer.prompts.columns import KNOWN, OPTION_PREFIX, is_option, unknown_faults
from producer.prompts.faults import Faults
from producer.prompts.ids import CustomIds, custom_id_complaint
from producer.prompts.references import LocalFiles
from producer.prompts.spool import PreparedRow
from shared import catalog
from shared.catalog import Provider
from shared.requests import Fault, GenerationRequest, faults_of, fingerprint

PRIORITY_MIN: Final = -32_768
PRIORITY_MAX: Final = 32_767


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
    ) -> None:
        self._default = default_provider
        self._providers = {name: catalog.get(name) for name in sorted(providers)}
        self._faults = faults
        self._files = LocalFiles(folder)
        self._ids = CustomIds()

    def prepare(self, line: int, values: dict[str, Any]) -> PreparedRow | None:
        """Return the prepared row, or None after recording each of its faults.

        `values` come by column; an absent column is absent, not None.
        """
        found = [Fault(*fault) for fault in unknown_faults(values)]
        custom_id = self._id(line, values.pop("custom_id", None), found)
        provider = values.pop("provider", self._default)
        priority = values.pop("priority", 0)
        found += self._provider_faults(provider)
        if type(priority) is not int or not PRIORITY_MIN <= priority <= PRIORITY_MAX:
            found.append(Fault("priority", f"must be a whole number from {PRIORITY_MIN} to {PRIORITY_MAX}"))
        request = _request(values, found)
        if request and isinstance(provider, str) and provider in self._providers:
            request = self._checked(request, self._providers[provider], found)
        if request is None or found:
            for fault in found:
                self._faults.add(line, *fault)
            return None
        body = request.canonical()
        return PreparedRow(line, custom_id, provider, body, fingerprint(provider, body), priority)

    def _id(self, line: int, given: Any, found: list[Fault]) -> str:
        """Return the row's id, made up where `given` is None."""
        if given is None:
            given, first = self._ids.make_up(line)
        elif complaint := custom_id_complaint(given):
            found.append(Fault("custom_id", complaint))
            return ""
        else:
            first = self._ids.take(given, line)
        if first:
            found.append(Fault("custom_id", f"is that of line {first} as well; give each row its own"))
        return str(given)

    def _provider_faults(self, provider: Any) -> Iterator[Fault]:
        known = ", ".join(self._providers)
        if provider is None:
            yield Fault("provider", f"is missing: add a column provider or name a default; known: {known}")
        elif not isinstance(provider, str) or provider not in self._providers:
            yield Fault("provider", f"must be one of {known}")

    def _checked(self, request: GenerationRequest, provider: Provider, found: list[Fault]) -> GenerationRequest:
        request, unread = self._files.resolve(request, provider)
        faults = provider.check(request)
        found += unread
        found += [fault for fault in faults if not (unread and fault.field == "references")]
        return request


def _request(values: dict[str, Any], found: list[Fault]) -> GenerationRequest | None:
    given = {name: value for name, value in values.items() if name in KNOWN}
    if len(given) < len(values):
        _fold_options(values, given, found)
    try:
        return GenerationRequest.model_validate(given)
    except ValidationError as error:
        found += faults_of(error)
        return None


def _fold_options(values: dict[str, Any], given: dict[str, Any], found: list[Fault]) -> None:
    """Put the values of `options.NAME` columns into the object `options`; each further dot is an object inside it."""
    options = given.get("options", {})
    if not isinstance(options, dict):
        return  # refused by the request itself
    given["options"] = options = dict(options)
    for column, value in values.items():
        if is_option(column) and not _put(options, column.removeprefix(OPTION_PREFIX).split("."), value):
            found.append(Fault(column, "is given in options as well"))


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
