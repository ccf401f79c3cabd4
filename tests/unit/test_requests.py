"""The common request: what it refuses, and that its canonical form is one form."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.requests import GenerationRequest, faults_of

_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(str.strip)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_REQUESTS = st.builds(
    GenerationRequest,
    prompt=_TEXT,
    model=st.none() | _TEXT,
    aspect_ratio=st.none() | st.just("16:9"),
    size=st.none() | st.just("2K"),
    n=st.integers(1, 10),
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
    output_format=st.none() | st.just("png"),
    references=st.lists(_TEXT, max_size=3).map(tuple),
    options=st.dictionaries(_TEXT, _JSON, max_size=3),
)


def _faults(**fields: object) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        GenerationRequest.model_validate({"prompt": "a cat", **fields})
    return dict(faults_of(caught.value))


@given(_REQUESTS)
def test_canonical_json_reads_back_to_the_same_request(request: GenerationRequest) -> None:
    again = GenerationRequest.model_validate_json(request.canonical())
    assert again == request
    assert again.canonical() == request.canonical()


def test_canonical_json_is_sorted_tight_and_without_defaults() -> None:
    request = GenerationRequest(prompt="ein Bär", size="2K", n=1, options={"b": 1, "a": True})
    assert request.canonical() == '{"options":{"a":true,"b":1},"prompt":"ein Bär","size":"2K"}'.encode()


def test_requests_that_differ_only_in_spelled_out_defaults_have_one_fingerprint() -> None:
    short = GenerationRequest(prompt="a cat")
    long = GenerationRequest.model_validate({"prompt": "a cat", "n": 1, "references": [], "options": {}})
    assert short.fingerprint("bloom") == long.fingerprint("bloom")
    assert len(short.fingerprint("bloom")) == 32


def test_the_fingerprint_depends_on_the_provider_and_on_every_field() -> None:
    base: dict[str, Any] = {"prompt": "a cat"}
    others = (
        {"n": 2}, {"seed": 1}, {"model": "m"}, {"size": "2K"}, {"aspect_ratio": "1:1"},
        {"output_format": "png"}, {"references": ("r",)}, {"options": {"a": 1}}, {"prompt": "a dog"},
    )  # fmt: skip
    prints = {GenerationRequest.model_validate({**base, **other}).fingerprint("bloom") for other in others}
    prints |= {GenerationRequest(**base).fingerprint(provider) for provider in ("bloom", "getimg")}
    assert len(prints) == len(others) + 2


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"prompt": ""}, "prompt", "is blank"),
        ({"prompt": " \n\t"}, "prompt", "is blank"),
        ({"prompt": 5}, "prompt", "must be text"),
        ({"prompt": "a\0b"}, "prompt", "control character U+0000 at character 2"),
        ({"prompt": "a\x1bb"}, "prompt", "control character U+001B"),
        ({"prompt": "\ud800"}, "prompt", "half of a surrogate pair"),
        ({"prompt": "x" * 65_537}, "prompt", "1 to 65536 characters"),
        ({"n": 0}, "n", "from 1 to 10"),
        ({"n": 11}, "n", "from 1 to 10"),
        ({"n": True}, "n", "whole number"),
        ({"n": "2"}, "n", "whole number"),
        ({"n": 1.0}, "n", "whole number"),
        ({"seed": 2**63}, "seed", "64 bits"),
        ({"model": ""}, "model", "is blank"),
        ({"references": "http://x"}, "references", "must be a list"),
        ({"references": [1]}, "references", "must be a list"),
        ({"references": ["x"] * 17}, "references", "at most 16"),
        ({"options": []}, "options", "must be an object"),
        ({"options": {"a": float("nan")}}, "options", "not finite"),
        ({"options": {"a": [float("inf")]}}, "options", "not finite"),
        ({"options": {"a": {"b": 10**400}}}, "options", "64 bits"),
        ({"options": {"a": "\ud800"}}, "options", "surrogate"),
        ({"options": {"a\0": 1}}, "options", "control character"),
        ({"options": {"a": object()}}, "options", "JSON cannot hold"),
        ({"options": {"a": {1: 2}}}, "options", "key that is not text"),
        ({"options": {str(k): k for k in range(65)}}, "options", "limit is 64"),
        ({"colour": "red"}, "colour", "not a known field"),
    ],
)
def test_what_cannot_be_stored_or_sent_is_refused_in_words(fields: dict[str, object], field: str, words: str) -> None:
    faults = _faults(**fields)
    assert list(faults) == [field]
    assert words in faults[field]


def test_options_nested_without_end_are_refused() -> None:
    nested: object = "leaf"
    for _ in range(40):
        nested = [nested]
    assert "nested deeper" in _faults(options={"a": nested})["options"]


def test_line_breaks_and_tabs_are_part_of_a_prompt() -> None:
    assert GenerationRequest(prompt="a cat\r\n\ton a mat").prompt == "a cat\r\n\ton a mat"


def test_neither_errors_nor_representations_show_prompts_or_links() -> None:
    secret = "https://bucket.example/x?X-Amz-Signature=abc"
    request = GenerationRequest(prompt="a secret cat", references=(secret,), options={"key": secret})
    assert "secret" not in repr(request)
    assert "Signature" not in str(request)
    with pytest.raises(ValidationError) as caught:
        GenerationRequest.model_validate({"prompt": "a secret cat\0", "references": [secret, 1]})
    assert "secret" not in str(caught.value) + str(faults_of(caught.value))


def test_a_missing_prompt_is_named() -> None:
    with pytest.raises(ValidationError) as caught:
        GenerationRequest.model_validate({})
    assert [tuple(fault) for fault in faults_of(caught.value)] == [("prompt", "is missing")]


def test_canonical_json_is_json_for_anyone() -> None:
    request = GenerationRequest(prompt='quote " and \\ and 🐈', seed=-3, references=("a", "b"))
    assert json.loads(request.canonical()) == {
        "prompt": 'quote " and \\ and 🐈',
        "references": ["a", "b"],
        "seed": -3,
    }
