"""PostEverywhere's limits, body and credits, row by row against its document."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalog import posteverywhere
from shared.requests import GenerationRequest

_RATIOS = ["1:1", "16:9", "9:16", "4:3", "3:4", "4:5", "5:4"]
_CREDITS = {"nano-banana-pro": 15, "ideogram-v2": 8, "gemini-3-pro": 5, "flux-schnell": 1}


def _request(**fields: object) -> GenerationRequest:
    return GenerationRequest.model_validate({"prompt": "a cat", **fields})


def _faults(**fields: object) -> dict[str, str]:
    return dict(posteverywhere.check(_request(**fields)))


def test_the_model_is_sent_even_when_the_row_is_silent_because_the_price_hangs_on_it() -> None:
    assert posteverywhere.body(_request()) == {"prompt": "a cat", "model": "nano-banana-pro"}
    assert posteverywhere.price(_request()) == (Decimal(15), "credit")


@pytest.mark.parametrize("model", _CREDITS)
def test_each_model_has_its_documented_credits(model: str) -> None:
    assert _faults(model=model) == {}
    assert posteverywhere.price(_request(model=model)) == (Decimal(_CREDITS[model]), "credit")


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"prompt": "x" * 2001}, "prompt", "has 2001 characters; the limit is 2000"),
        ({"model": "dall-e"}, "model", "one of nano-banana-pro, ideogram-v2, gemini-3-pro, flux-schnell"),
        ({"aspect_ratio": "21:9"}, "aspect_ratio", "one of 1:1, 16:9, 9:16, 4:3, 3:4, 4:5, 5:4"),
        ({"n": 2}, "n", "PostEverywhere makes one image a call; n must be 1"),
        ({"size": "2K"}, "size", "PostEverywhere has no size"),
        ({"seed": 1}, "seed", "PostEverywhere has no seed"),
        ({"output_format": "png"}, "output_format", "PostEverywhere has no output_format"),
        ({"references": ["cat.png"]}, "references", "PostEverywhere has no references"),
        ({"options": {"style": "x"}}, "options.style", "is not an option of PostEverywhere"),
    ],
)
def test_what_posteverywhere_cannot_do_is_refused_with_its_real_limit(
    fields: dict[str, object], field: str, words: str
) -> None:
    faults = _faults(**fields)
    assert list(faults) == [field]
    assert words in faults[field]


def test_generations_have_a_window_of_their_own_beside_those_of_all_requests() -> None:
    assert posteverywhere.PROVIDER.windows == ((60, 60.0, "all"), (1000, 3600.0, "all"), (50, 3600.0, "submit"))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "aspect_ratio": st.sampled_from([*_RATIOS, "2:3"]),
            "model": st.sampled_from([*_CREDITS, "Flux-Schnell"]),
            "prompt": st.sampled_from(["x", "x" * 2000, "x" * 2001]),
        },
    )
)
def test_check_accepts_exactly_what_the_document_lists(fields: dict[str, str]) -> None:
    valid = (
        fields.get("aspect_ratio", "1:1") in _RATIOS
        and fields.get("model", "flux-schnell") in _CREDITS
        and len(fields.get("prompt", "")) <= 2000
    )
    assert (_faults(**fields) == {}) == valid
