"""getimg's limits, body and prices, against the types of the vendor's own SDK."""

import base64
from decimal import Decimal

import pytest
from getimg.types import ImageGenerateParams
from pydantic import TypeAdapter

from shared.catalog import getimg
from shared.requests import GenerationRequest

_LINK = "https://bucket.example/reference.png?sig=1"


def _request(**fields: object) -> GenerationRequest:
    return GenerationRequest.model_validate({"prompt": "a cat", "model": "seedream-5-lite", **fields})


def _faults(**fields: object) -> dict[str, str]:
    return dict(getimg.check(_request(**fields)))


def _data_url(size: int) -> str:
    return "data:image/png;base64," + base64.b64encode(bytes(size)).decode()


def test_a_full_request_becomes_the_documented_body() -> None:
    request = _request(aspect_ratio="16:9", size="2K", output_format="webp", references=[_LINK])
    assert getimg.check(request) == []
    body = getimg.body(request)
    assert body == {
        "model": "seedream-5-lite",
        "prompt": "a cat",
        "aspect_ratio": "16:9",
        "resolution": "2K",
        "output_format": "webp",
        "images": [{"url": _LINK, "role": "reference_image"}],
    }
    TypeAdapter(ImageGenerateParams).validate_python(body)


def test_a_short_request_leaves_the_models_defaults_alone() -> None:
    assert getimg.body(_request()) == {"model": "seedream-5-lite", "prompt": "a cat"}


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"model": None}, "model", "is required by getimg"),
        ({"seed": 1}, "seed", "getimg has no seed"),
        ({"n": 2}, "n", "getimg makes one image a call; n must be 1"),
        ({"prompt": "x" * 4097}, "prompt", "has 4097 characters; the limit is 4096"),
        ({"aspect_ratio": "wide"}, "aspect_ratio", "must look like 16:9"),
        ({"size": "1024x1024"}, "size", "must look like 2K"),
        ({"output_format": "jpg"}, "output_format", "one of png, jpeg, webp"),
        ({"references": ["http://x.example/a.png"]}, "references", "item 1 must be an https URL"),
        ({"references": [_LINK, "https://"]}, "references", "item 2 must be an https URL"),
        ({"references": ["https://[x/"]}, "references", "must be an https URL"),
        ({"references": ["https://x.example/a b"]}, "references", "must be an https URL"),
        ({"references": ["data:text/plain;base64,AAAA"]}, "references", "PNG, JPEG or WebP"),
        ({"references": ["data:image/png;base64,AA*A"]}, "references", "not valid base64"),
        ({"references": ["data:image/png;base64,AAAAA"]}, "references", "not valid base64"),
        ({"options": {"quality": "high"}}, "options.quality", "not an option of getimg"),
        ({"options": {"resolution": "2K"}}, "options.resolution", "is the common field size"),
    ],
)
def test_what_getimg_cannot_do_is_refused_with_its_real_limit(
    fields: dict[str, object], field: str, words: str
) -> None:
    faults = _faults(**fields)
    assert list(faults) == [field]
    assert words in faults[field]


@pytest.mark.parametrize("fields", [{"aspect_ratio": "21:9"}, {"size": "8K"}, {"model": "made-up-tomorrow"}])
def test_values_the_document_does_not_list_are_left_to_getimg(fields: dict[str, object]) -> None:
    assert _faults(**fields) == {}


def test_an_inline_reference_may_have_ten_mebibytes_and_not_a_byte_more() -> None:
    assert _faults(references=[_data_url(10 * 2**20)]) == {}
    assert "has 10485761 bytes decoded" in _faults(references=[_data_url(10 * 2**20 + 1)])["references"]


def test_inline_references_together_must_fit_the_body() -> None:
    assert "larger than 26214400 bytes" in _faults(references=[_data_url(9 * 2**20)] * 3)["references"]


def test_a_body_without_a_model_is_refused() -> None:
    with pytest.raises(ValueError, match="getimg needs model"):
        getimg.body(_request(model=None))


def test_the_price_is_unknown_unless_the_account_states_it() -> None:
    assert getimg.price(_request()) is None
    assert getimg.price(_request(), {"seedream-5-lite": Decimal("0.035")}) == (Decimal("0.035"), "USD")
    assert getimg.price(_request(model="other"), {"seedream-5-lite": Decimal("0.035")}) is None
