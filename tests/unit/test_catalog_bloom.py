"""Bloom's limits, body and credits, against its request schema as published."""

from decimal import Decimal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalog import bloom
from shared.requests import GenerationRequest

_BRAND = "0b8f7f9e-4f2b-4c5d-8a1e-0123456789ab"
_OTHER_BRAND = "11111111-2222-4333-8444-555555555555"
_RATIOS = ["1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"]
_UUID = {"type": "string", "format": "uuid"}
_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["prompt", "brandSessionId"],
    "properties": {
        "prompt": {"type": "string", "minLength": 1, "maxLength": 2000},
        "brandSessionId": _UUID,
        "aspectRatio": {"enum": _RATIOS},
        "imageSize": {"enum": ["2K", "4K"]},
        "model": {"enum": ["fast", "standard", "pro"]},
        "variantCount": {"type": "integer", "minimum": 1, "maximum": 5},
        "referenceImageIds": {"type": "array", "maxItems": 10, "items": _UUID},
    },
}
_VALIDATOR = jsonschema.Draft202012Validator(_SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


def _request(**fields: object) -> GenerationRequest:
    return GenerationRequest.model_validate({"prompt": "a cat", **fields})


def _faults(**fields: object) -> dict[str, str]:
    return dict(bloom.check(_request(**fields)))


def test_a_full_request_becomes_the_documented_body() -> None:
    request = _request(
        model="fast",
        aspect_ratio="16:9",
        size="4K",
        n=3,
        references=[_OTHER_BRAND],
        options={"brandSessionId": _BRAND},
    )
    assert bloom.check(request) == []
    assert bloom.body(request) == {
        "prompt": "a cat",
        "brandSessionId": _BRAND,
        "aspectRatio": "16:9",
        "imageSize": "4K",
        "model": "fast",
        "variantCount": 3,
        "referenceImageIds": [_OTHER_BRAND],
    }


def test_what_the_price_depends_on_is_sent_even_when_the_row_is_silent() -> None:
    body = bloom.body(_request(), {"brandSessionId": _BRAND})
    assert body == {"prompt": "a cat", "brandSessionId": _BRAND, "imageSize": "2K", "variantCount": 1}


def test_the_rows_brand_wins_over_the_accounts() -> None:
    request = _request(options={"brandSessionId": _BRAND})
    assert bloom.body(request, {"brandSessionId": _OTHER_BRAND})["brandSessionId"] == _BRAND


def test_a_request_without_any_brand_has_no_body() -> None:
    assert _faults() == {}
    with pytest.raises(ValueError, match="Bloom needs brandSessionId: set it in the row or for the account"):
        bloom.body(_request())


def test_an_account_default_that_bloom_does_not_take_is_refused() -> None:
    with pytest.raises(ValueError, match="no account default named imageSize"):
        bloom.body(_request(), {"brandSessionId": _BRAND, "imageSize": "4K"})


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"seed": 1}, "seed", "Bloom has no seed"),
        ({"output_format": "png"}, "output_format", "Bloom has no output_format"),
        ({"prompt": "x" * 2001}, "prompt", "has 2001 characters; the limit is 2000"),
        ({"n": 6}, "n", "from 1 to 5"),
        ({"size": "1K"}, "size", "one of 2K, 4K"),
        ({"size": "2k"}, "size", "one of 2K, 4K"),
        ({"aspect_ratio": "7:5"}, "aspect_ratio", "one of 1:1, 2:3"),
        ({"model": "ultra"}, "model", "fast, standard, pro"),
        ({"references": [_BRAND] * 11}, "references", "has 11 items; the limit is 10"),
        ({"references": [_BRAND, "https://x.example/a.png"]}, "references", "item 2 must be the UUID"),
        ({"options": {"brandSessionId": "mine"}}, "options.brandSessionId", "must be a UUID"),
        ({"options": {"brandSessionId": 5}}, "options.brandSessionId", "must be a UUID"),
        ({"options": {"brandSessionId": None}}, "options.brandSessionId", "must be a UUID"),
        ({"options": {"brand": _BRAND}}, "options.brand", "not an option of Bloom; it knows brandSessionId"),
        ({"options": {"imageSize": "2K"}}, "options.imageSize", "is the common field size"),
    ],
)
def test_what_bloom_cannot_do_is_refused_with_its_real_limit(fields: dict[str, object], field: str, words: str) -> None:
    faults = _faults(**fields)
    assert list(faults) == [field]
    assert words in faults[field]


@pytest.mark.parametrize(
    ("fields", "credits"),
    [
        ({}, 1),
        ({"size": "2K"}, 1),
        ({"size": "4K"}, 2),
        ({"n": 5}, 5),
        ({"size": "4K", "n": 5}, 10),
        ({"model": "fast"}, 1),
    ],
)
def test_the_price_is_credits_by_size_times_variants(fields: dict[str, object], credits: int) -> None:  # noqa: A002 - the unit
    assert bloom.price(_request(**fields)) == (Decimal(credits), "credit")


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "aspect_ratio": st.sampled_from([*_RATIOS, "1:2"]),
            "size": st.sampled_from(["1K", "2K", "4K"]),
            "model": st.sampled_from(["fast", "standard", "pro", "Pro"]),
            "n": st.integers(1, 10),
            "references": st.lists(st.uuids().map(str) | st.just("cat.png"), max_size=12),
            "options": st.fixed_dictionaries({"brandSessionId": st.uuids().map(str) | st.just("x")}),
            "prompt": st.text("ab", min_size=1) | st.just("x" * 2001),
        },
    )
)
def test_check_accepts_exactly_what_the_published_schema_accepts(fields: dict[str, object]) -> None:
    request = _request(**fields)
    valid = _VALIDATOR.is_valid(bloom.body(request, {"brandSessionId": _BRAND}))
    assert (bloom.check(request) == []) == valid
