"""What Banatie accepts in ``POST`` and ``PUT /api/v1/generations``, and how it rewrites a prompt."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ops.simulator.wires.banatie.errors import refuse

RATIOS = ("1:1", "16:9", "9:16", "3:2", "21:9")
MOST_PROMPT = 2000  # not documented
MOST_REFERENCES = 3
# What enhancing makes of a prompt, by template; the vendor's own wording differs each time.
_TEMPLATES = {
    "general": "A detailed, well composed picture of {}, in balanced light",
    "photorealistic": "A photorealistic picture of {}, shot on a 50mm lens in natural light",
    "illustration": "An illustration of {}, in a limited palette with a clear composition",
    "minimalist": "A minimalist drawing of {}, in plain shapes on an empty ground",
    "sticker": "A sticker of {}, with a bold outline and flat colours",
    "product": "A product picture of {}, under studio light on a neutral ground",
    "comic": "A comic panel of {}, with ink lines and motion",
}
_RESERVED = {"@last", "@first", "@upload"}
_ALIAS = re.compile(r"@[A-Za-z0-9_-]{1,100}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class BanatieSubmission:
    """A valid request; ``prompt`` is the one that is drawn, ``original`` the one that was sent."""

    prompt: str
    original: str
    enhance: bool
    template: str
    ratio: str
    meta: Mapping[str, Any]
    alias: str | None
    flow: str | None
    references: tuple[str, ...]


def enhanced(prompt: str, template: str, *, enhance: bool) -> str:
    """Return the prompt as it is drawn."""
    return _TEMPLATES[template].format(prompt) if enhance else prompt


def read_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object. Raises ``RefusalError`` with a 400."""
    try:
        document = json.loads(body)
    except ValueError:
        raise refuse("VALIDATION_ERROR", "The request body is not JSON") from None
    if not isinstance(document, dict):
        raise refuse("VALIDATION_ERROR", "The request body must be an object")
    return document


def parse_submission(body: bytes) -> BanatieSubmission:
    """Read a request body. Raises ``RefusalError`` with a 400 that names the parameter."""
    document = read_object(body)
    prompt, enhance = parse_prompt(document.get("prompt")), _typed(document, "autoEnhance", bool, default=True)
    options = _typed(document, "enhancementOptions", dict, default={})
    template = options.get("template", "general")
    if template not in _TEMPLATES:
        raise refuse("VALIDATION_ERROR", f"enhancementOptions.template must be one of {', '.join(_TEMPLATES)}")
    references = _typed(document, "referenceImages", list, default=[])
    if len(references) > MOST_REFERENCES or not all(isinstance(item, str) for item in references):
        raise refuse("VALIDATION_ERROR", f"referenceImages must be at most {MOST_REFERENCES} ids or aliases")
    flow = document.get("flowId")
    if flow is not None and not (isinstance(flow, str) and _UUID.fullmatch(flow)):
        raise refuse("VALIDATION_ERROR", "flowId must be a UUID")
    if "flowAlias" in document and flow is None:
        raise refuse("VALIDATION_ERROR", "flowAlias needs flowId")
    return BanatieSubmission(
        prompt=enhanced(prompt, template, enhance=enhance),
        original=prompt,
        enhance=enhance,
        template=template,
        ratio=parse_ratio(document.get("aspectRatio", "1:1")),
        meta=_typed(document, "meta", dict, default={}),
        alias=_alias(document.get("alias")),
        flow=flow,
        references=tuple(references),
    )


def parse_prompt(prompt: Any) -> str:
    """Return ``prompt``. Raises ``RefusalError`` with a 400 if it is not one."""
    if not isinstance(prompt, str) or not 1 <= len(prompt) <= MOST_PROMPT:
        raise refuse("VALIDATION_ERROR", f"prompt must be a string of 1 to {MOST_PROMPT} characters")
    return prompt


def parse_ratio(ratio: Any) -> str:
    """Return ``ratio``. Raises ``RefusalError`` with a 400 if it is not supported."""
    if ratio not in RATIOS:
        raise refuse("VALIDATION_ERROR", f"aspectRatio must be one of {', '.join(RATIOS)}")
    return str(ratio)


def _alias(alias: Any) -> str | None:
    if alias is None:
        return None
    if not isinstance(alias, str) or not _ALIAS.fullmatch(alias) or alias in _RESERVED:
        raise refuse("VALIDATION_ERROR", "alias must be @ and letters, digits, - or _, and none of the reserved ones")
    return alias


def _typed(document: dict[str, Any], name: str, kind: type, *, default: Any) -> Any:
    value = document.get(name, default)
    if not isinstance(value, kind):
        raise refuse("VALIDATION_ERROR", f"{name} must be of type {kind.__name__}")
    return value
