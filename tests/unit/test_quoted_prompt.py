"""A provider that quotes a prompt does not bring it into what is kept of its words, however it writes it."""

import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from worker.providers.quoted_prompt import PROMPT_MARK, without_prompts

PROMPTS = {
    "plain": "a secret harbour of Anna at dawn, with twelve boats",
    "quotes": 'the sign says "open" & it\'s <late>, Anna: 50% \\ off / gone',
    "lines": "a secret harbour\nof Anna\tat dawn,  with\r\ntwelve boats",
    "accents": "un café secret d'Anaïs à l'aube, œuvre d'été sous la pluie",
    "chinese": "清晨安娜的秘密港口有十二艘小船停泊",
    "emoji": "a secret harbour 🚢 of Anna 🌅 at dawn with boats",
}
FORMS: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "json": lambda text: json.dumps(text)[1:-1],
    "json twice": lambda text: json.dumps(json.dumps(text))[1:-1],
    "json, not escaped": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "html": lambda text: html.escape(text, quote=True),
    "html, by number": lambda text: "".join(f"&#{ord(one)};" for one in text),
    "url": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "upper case": str.upper,
    "one line": lambda text: " ".join(text.split()),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", PROMPTS)
def test_a_quoted_prompt_is_taken_out_in_any_form(kind: str, form: str) -> None:
    said = f"HTTP 500 X: cannot draw '{FORMS[form](PROMPTS[kind])}' for you"
    found = without_prompts(said, [PROMPTS[kind]])
    assert found.startswith("HTTP 500 X: cannot draw '")
    assert found.endswith("' for you")
    assert PROMPT_MARK in found
    left = found.replace(PROMPT_MARK, "").removeprefix("HTTP 500 X: cannot draw ").removesuffix(" for you")
    assert len([one for one in left if one.isalnum()]) <= 12, left  # the rest of an escape that stands for no letter


@pytest.mark.parametrize("kind", PROMPTS)
@pytest.mark.parametrize("part", ["beginning", "end", "middle"])
def test_a_long_part_of_a_prompt_is_a_quotation_too(part: str, kind: str) -> None:
    prompt = PROMPTS[kind]
    third = len(prompt) // 4
    taken = {"beginning": prompt[:-third], "end": prompt[third:], "middle": prompt[third // 2 : -(third // 2)]}[part]
    found = without_prompts(f"no: {taken}... is not allowed", [prompt])
    assert PROMPT_MARK in found
    assert "".join(filter(str.isalpha, found.replace(PROMPT_MARK, ""))) == "noisnotallowed"


@pytest.mark.parametrize("prompt", ["harbour", "A Harbour", "一只猫"])
def test_a_short_prompt_is_taken_out_whole(prompt: str) -> None:
    assert without_prompts(f"cannot draw '{prompt}!' now", [prompt]) == f"cannot draw '{PROMPT_MARK}!' now"


def test_two_prompts_are_both_taken_out() -> None:
    one, two = PROMPTS["plain"], PROMPTS["accents"]
    assert without_prompts(f"{two} | {one}", [one, two]) == f"{PROMPT_MARK} | {PROMPT_MARK}"


@pytest.mark.parametrize("prompt", ["", "a", "no", "p1", "cats", "???", "a photo of boats", "error", "terna"])
@pytest.mark.parametrize(
    "said", ["HTTP 500 internal_error: duplicates are not allowed", "no message", "", "a photograph \\ %zz &; \\u12"]
)
def test_words_that_quote_nothing_stay(said: str, prompt: str) -> None:
    assert without_prompts(said, [prompt]) == said
