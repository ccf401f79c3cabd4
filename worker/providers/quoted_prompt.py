"""Text of a provider's without the prompt that it quotes: what is kept of it ends in logs, alerts and notes."""

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import unquote

PROMPT_MARK: Final = "<the prompt>"
_PART: Final = 20
"""So many letters and digits of a prompt in a row are a quotation; the words of an error seldom agree so far."""
_DENSE_PART: Final = 8  # in scripts whose letters say more
_LEAST_BYTES: Final = 5  # a shorter prompt stands in any text
_WORD: Final = re.compile(r"\w")
_MARKS: Final = re.compile(r"\\+u[0-9a-f]{4}|\\+[nrtbf]|&#?\w{1,8};|(?:%[0-9a-f]{2})+|.", re.IGNORECASE | re.DOTALL)


def without_prompts(text: str, prompts: Iterable[str]) -> str:
    """Return `text` without these prompts and long parts of them, however they are escaped, spaced or capitalised."""
    for prompt in prompts:
        text = _without(text, prompt)
    return text


def _without(text: str, prompt: str) -> str:
    words = "".join(map(_folded, prompt))
    if len(words.encode()) < _LEAST_BYTES:
        return text
    least = min(len(words), _PART if words.isascii() else _DENSE_PART)
    pieces, at = [], 0
    for start, end in _quotations(text, words, least):
        pieces += [text[at:start], PROMPT_MARK]
        at = end
    return "".join(pieces) + text[at:]


def _quotations(text: str, words: str, least: int) -> Iterator[tuple[int, int]]:
    """Yield where `text` has at least `least` letters of `words` in a row, each time as many as follow."""
    marks = list(_marks(text))
    plain = "".join(letter for letter, _, _ in marks)
    at = 0
    while at + least <= len(plain):
        length = least if plain[at : at + least] in words else 0
        while length and at + length < len(plain) and plain[at : at + length + 1] in words:
            length += 1
        start, end = marks[at][1], marks[at + max(length, 1) - 1][2]
        if length and (length >= _PART or _stands_alone(text, start, end)):
            yield start, end
        at += length or 1


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Tell whether a quotation begins and ends where a word may; a short prompt may be a part of another word."""
    dense = not text[start:end].isascii()
    return dense or not (_WORD.search(text[:start][-1:]) or _WORD.match(text, end))


def _marks(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield each letter and digit of `text` in one form, with where it begins and ends there."""
    for found in _MARKS.finditer(text):
        for letter in _folded(_unescaped(found.group())):
            yield letter, found.start(), found.end()


def _unescaped(mark: str) -> str:
    """Return what one escape of JSON, HTML or URLs stands for; any other text as it is."""
    if mark.startswith("\\"):
        code = mark.lstrip("\\")
        return chr(int(code[1:], 16)) if len(code) > 1 else " " if code else mark
    if mark.startswith("%"):
        return unquote(mark)
    return html.unescape(mark) if mark.startswith("&") else mark


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(letter for letter in plain if letter.isalnum())
