"""A part of a path that is a name: not one that ends as an act does, such as `:cancel`: that is another path."""

from typing import Final

from starlette.convertors import Convertor, register_url_convertor

_ACTS: Final = ("cancel", "retry", "resolve", "choose", "hold", "release", "pause", "resume", "rotate", "replay")
NAME: Final = "plain"
"""The convertor's name: `{name:plain}` in a route."""


class _Plain(Convertor[str]):
    regex = "[^/]+" + "".join(f"(?<!:{act})" for act in _ACTS)

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor(NAME, _Plain())
