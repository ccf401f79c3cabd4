"""A provider as producers and the dispatcher see it: names, limits, and its three questions to a request."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from shared.catalog.inline import InlineImages
from shared.catalog.parameter import Parameter
from shared.requests import GenerationRequest, RequestFault

NO_VALUES: Final[Mapping[str, Any]] = MappingProxyType({})
NO_PRICES: Final[Mapping[str, Decimal]] = MappingProxyType({})
NOTHING_OURS: Final[Mapping[str, str]] = MappingProxyType({})
_FIELDS: Final = ("prompt", "model", "aspect_ratio", "size", "n", "seed", "output_format", "references")


Rule = Callable[[GenerationRequest], RequestFault | None]
"""A check of fields against each other: the fault of one of them, or None."""


class DocumentedWindow(NamedTuple):
    """At most `requests` requests in any `seconds` seconds; of all requests, or of paid submits alone."""

    requests: int
    seconds: float
    scope: Literal["all", "submit"] = "all"


class Price(NamedTuple):
    """The most that a request can cost, in the provider's unit ("credit", "USD" or "unbilled")."""

    amount: Decimal
    unit: str


def check_together(request: GenerationRequest, faults: list[RequestFault], rules: Iterable[Rule]) -> list[RequestFault]:
    """Return `faults` and those of each rule, save for a field that is at fault by itself already."""
    blamed = {fault.field for fault in faults}
    found = filter(None, (rule(request) for rule in rules))
    return faults + [fault for fault in found if fault.field not in blamed]


def _required(title: str, parameter: Parameter) -> str:
    return f"is required by {title}" + (f", such as {parameter.example}" if parameter.example else "")


class Parameters:
    """The whole parameter list of one provider; answers for every field of a request, known to it or not.

    `ours` names the wire parameters that no row may set, each with the reason.
    """

    def __init__(self, title: str, parameters: Iterable[Parameter], ours: Mapping[str, str] = NOTHING_OURS) -> None:
        self.title = title
        self.ours = ours
        self.all = tuple(parameters)
        self._by_field = {parameter.field: parameter for parameter in self.all}
        self._options = {p.field.removeprefix("options."): p for p in self.all if p.field.startswith("options.")}

    def check(self, request: GenerationRequest) -> list[RequestFault]:
        """Name everything that this provider cannot do, each with its real limit; empty if it can do all."""
        faults = []
        for field in _FIELDS:
            value = getattr(request, field)
            parameter = self._by_field.get(field)
            if value is None or value == ():
                if parameter and parameter.required and not parameter.from_account:
                    faults.append(RequestFault(field, _required(self.title, parameter)))
            elif parameter is None:
                if field != "n" or value != 1:
                    faults.append(RequestFault(field, self._cannot(field)))
            else:
                faults.extend(self._worded(parameter, value))
        if request.options:
            faults.extend(self._check_options(request.options))
        return faults

    def body(self, request: GenerationRequest, defaults: Mapping[str, Any] = NO_VALUES) -> dict[str, Any]:
        """Return the JSON body for the wire, from a request that `check` accepted.

        `defaults` are the account's, by their wire names, used where the request is silent.
        Raises `ValueError` if a required parameter is in neither, or a default is not one an account may set.
        """
        allowed = {parameter.wire for parameter in self.all if parameter.from_account}
        if stray := defaults.keys() - allowed:
            raise ValueError(f"{self.title} takes no account default named {', '.join(sorted(stray))}")
        body = {}
        for parameter in self.all:
            value = self._value(request, parameter)
            if value is None or value == ():
                value = defaults.get(parameter.wire)
            if value is None and (parameter.priced or parameter.always):
                value = parameter.default
            if value is not None:
                body[parameter.wire] = parameter.encode(value) if parameter.encode else value
            elif parameter.required:
                raise ValueError(f"{self.title} needs {parameter.wire}: set it in the row or for the account")
        return body

    def _cannot(self, field: str) -> str:
        if field == "n":
            return f"{self.title} makes one image a call; n must be 1: write one row for each image"
        return f"{self.title} has no {field}; leave it out"

    def _check_options(self, options: Mapping[str, Any]) -> list[RequestFault]:
        faults = []
        for name, value in options.items():
            parameter = self._options.get(name)
            if parameter is None:
                faults.append(RequestFault(f"options.{name}", self._no_such_option(name)))
            else:
                faults.extend(self._worded(parameter, value))
        return faults

    def _worded(self, parameter: Parameter, value: Any) -> Iterator[RequestFault]:
        for fault in parameter.faults(value):
            yield RequestFault(fault.field, f"{fault.message} ({self.title})")

    def _no_such_option(self, name: str) -> str:
        if name in self.ours:
            return f"is not for rows to set: {self.ours[name]}"
        if plain := next((p.field for p in self.all if p.wire == name), None):
            return f"is the common field {plain}; use that"
        known = f"; it knows {', '.join(self._options)}" if self._options else ""
        return f"is not an option of {self.title}{known}"

    @staticmethod
    def _value(request: GenerationRequest, parameter: Parameter) -> Any:
        if parameter.field.startswith("options."):
            return request.options.get(parameter.field.removeprefix("options."))
        return getattr(request, parameter.field)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider: constants from its documents, and what it makes of a request.

    `check` lists the faults, `body` builds the wire JSON, `price` gives the upper bound of the cost or
    None if it is unknown; its second argument holds the account's own price of one image by model. `inline` says
    which reference images may travel inside the request, None if none may.
    """

    name: str
    title: str
    kind: Literal["async", "sync"]  # async = may answer before the image is made; sync = only afterwards
    base_url: str
    key_help_url: str
    windows: tuple[DocumentedWindow, ...]  # empty = none documented
    concurrency: int  # paid calls in the air at once
    timeout_seconds: float  # wall clock of one paid call
    quiet_seconds: float = 0.0  # after a lost call is over, until its purchase shows at the provider
    max_images: int
    unit: Literal["credit", "USD", "unbilled"]  # unbilled = declared free of charge, every amount is 0
    parameters: tuple[Parameter, ...]
    check: Callable[[GenerationRequest], list[RequestFault]]
    body: Callable[[GenerationRequest, Mapping[str, Any]], dict[str, Any]]
    shows_lost: bool = True  # its own list or usage can show that a lost call bought nothing
    asked_again: bool = False  # a sync provider whose pictures can be asked for all the same
    price: Callable[[GenerationRequest, Mapping[str, Decimal]], Price | None]
    ours: Mapping[str, str]  # wire parameters that no row may set, each with the reason
    inline: InlineImages | None

    @property
    def is_polled(self) -> bool:
        """Whether it can be asked again about images that it has not delivered yet."""
        return self.kind == "async" or self.asked_again
