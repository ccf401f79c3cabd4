"""The common generation request: what a row, an SDK call or an HTTP body asks for, whatever the provider.

Its canonical JSON is what the database keeps and its fingerprint is what makes two requests the same.
"""

import hashlib
import json
import math
import re
from typing import Annotated, Any, Final, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field, ValidationError

PROMPT_MAX_CHARS: Final = 65_536  # above every provider's own limit; bounds a row
REFERENCE_MAX_CHARS: Final = 14_100_000  # an image of 10 MiB as a base64 data URL
REFERENCES_MAX: Final = 16
N_MAX: Final = 10
OPTIONS_MAX: Final = 64
OPTIONS_MAX_DEPTH: Final = 16
INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1

# PostgreSQL stores no NUL, and the others are nearly always a file read in the wrong encoding.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")

_EXPECTED: Final = {
    "prompt": f"must be text of 1 to {PROMPT_MAX_CHARS} characters",
    "model": "must be text of 1 to 200 characters",
    "aspect_ratio": "must be text of 1 to 16 characters, such as 16:9",
    "size": "must be text of 1 to 32 characters, such as 2K",
    "n": f"must be a whole number from 1 to {N_MAX}",
    "seed": "must be a whole number that fits 64 bits",
    "output_format": "must be text of 1 to 16 characters, such as png",
    "references": f"must be a list of at most {REFERENCES_MAX} URLs or ids of 1 to {REFERENCE_MAX_CHARS} characters",
    "options": "must be an object of provider options",
}


class RequestFault(NamedTuple):
    """What is wrong with one field of a request; the message never quotes the field's value."""

    field: str
    message: str


def text_complaint(text: str) -> str | None:
    """Say why a text is no use (blank, control character, half of a surrogate pair); None if it is fine."""
    return "is blank" if not text or text.isspace() else _unstorable(text)


def _unstorable(text: str) -> str | None:
    if found := _CONTROL.search(text):
        return f"contains the control character U+{ord(found[0]):04X} at character {found.start() + 1}"
    if not text.isascii() and (found := _SURROGATE.search(text)):
        return f"contains half of a surrogate pair (U+{ord(found[0]):04X}) at character {found.start() + 1}"
    return None


def _clean(text: str) -> str:
    if complaint := text_complaint(text):
        raise ValueError(complaint)
    return text


def json_complaint(value: object, depth: int = 0) -> str | None:
    """Say why a value cannot be stored and sent as JSON; None if it can. The answer quotes no value."""
    if depth > OPTIONS_MAX_DEPTH:
        return f"is nested deeper than {OPTIONS_MAX_DEPTH} levels"
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            return "contains a key that is not text"
        parts = [*value, *value.values()]
    elif isinstance(value, list | tuple):
        parts = list(value)
    else:
        return _scalar_complaint(value)
    return next(filter(None, (json_complaint(part, depth + 1) for part in parts)), None)


def _scalar_complaint(value: object) -> str | None:
    complaint = None
    if isinstance(value, str):
        complaint = _unstorable(value)
    elif isinstance(value, float):
        complaint = None if math.isfinite(value) else "contains a number that is not finite"
    elif isinstance(value, int):
        complaint = None if INT64_MIN <= value <= INT64_MAX else "contains a number that does not fit 64 bits"
    elif value is not None:
        complaint = f"contains a {type(value).__name__}, which JSON cannot hold"
    return complaint


def _plain_json(options: dict[str, Any]) -> dict[str, Any]:
    if len(options) > OPTIONS_MAX:
        raise ValueError(f"has {len(options)} entries; the limit is {OPTIONS_MAX}")
    if options and (complaint := json_complaint(options)):
        raise ValueError(complaint)
    return options


_Reference = Annotated[str, Field(min_length=1, max_length=REFERENCE_MAX_CHARS), AfterValidator(_clean)]
_Word = AfterValidator(_clean)
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


class GenerationRequest(BaseModel):
    """One generation: one paid call, one to ten images.

    Validation is strict (no text becomes a number) and raises `pydantic.ValidationError`;
    `faults_of` words it. What one provider can do is the catalog's business.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        defer_build=True,  # most commands read no request
    )

    prompt: Annotated[str, Field(min_length=1, max_length=PROMPT_MAX_CHARS, repr=False), _Word]
    model: Annotated[str, Field(min_length=1, max_length=200), _Word] | None = None
    aspect_ratio: Annotated[str, Field(min_length=1, max_length=16), _Word] | None = None
    size: Annotated[str, Field(min_length=1, max_length=32), _Word] | None = None
    n: int = Field(1, ge=1, le=N_MAX)
    seed: Annotated[int, Field(ge=INT64_MIN, le=INT64_MAX)] | None = None
    output_format: Annotated[str, Field(min_length=1, max_length=16), _Word] | None = None
    # Not strict, so that a list is accepted; its items still are.
    references: Annotated[
        tuple[_Reference, ...], Field(strict=False, max_length=REFERENCES_MAX, repr=False), FailFast()
    ] = ()
    options: Annotated[dict[str, Any], AfterValidator(_plain_json)] = Field(default_factory=dict, repr=False)

    def canonical(self) -> bytes:
        """Return the request as JSON in UTF-8: sorted keys, no whitespace, nothing that is a default.

        `GenerationRequest.model_validate_json` reads it back to an equal request.
        """
        given: dict[str, Any] = {"prompt": self.prompt}
        for name in ("model", "aspect_ratio", "size", "seed", "output_format"):
            if (value := getattr(self, name)) is not None:
                given[name] = value
        if self.n != 1:
            given["n"] = self.n
        if self.references:
            given["references"] = self.references
        if self.options:
            given["options"] = self.options
        return _ENCODER.encode(given).encode()

    def fingerprint(self, provider: str) -> bytes:
        """Return 32 bytes, SHA-256 of the provider's name and the canonical JSON: equal if both are equal."""
        return fingerprint(provider, self.canonical())


def fingerprint(provider: str, canonical: bytes) -> bytes:
    """Return the 32-byte fingerprint of a request that is already in canonical form."""
    # The zero byte ends the name, so that no name and body can run into another pair.
    return hashlib.sha256(provider.encode() + b"\0" + canonical).digest()


def faults_of(error: ValidationError) -> list[RequestFault]:
    """Word what `GenerationRequest` refused: one fault a field, without the values."""
    faults: dict[str, RequestFault] = {}
    for detail in error.errors(include_input=False, include_url=False):
        field = str(detail["loc"][0]) if detail["loc"] else "request"
        if detail["type"] == "value_error":
            message = str(detail["ctx"]["error"])
        elif detail["type"] == "missing":
            message = "is missing"
        elif detail["type"] == "string_too_short":
            message = "is blank"
        elif detail["type"] == "extra_forbidden":
            message = f"is not a known field; known: {', '.join(_EXPECTED)}"
        elif detail["type"] == "string_unicode":
            message = "contains half of a surrogate pair"
        else:
            message = _EXPECTED.get(field, "is not valid")
        faults.setdefault(field, RequestFault(field, message))
    return list(faults.values())
