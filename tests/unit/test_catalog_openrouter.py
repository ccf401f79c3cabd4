"""OpenRouter's limits, body and prices, against the types of the vendor's own SDK."""

from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openrouter import components

from shared.catalog import openrouter
from shared.catalog.parameter import Parameter
from shared.requests import GenerationRequest

_LINK = "https://bucket.example/reference.png?sig=1"
_KNOWN = {
    "aspect_ratio": components.ImageGenerationRequestAspectRatio,
    "output_format": components.ImageGenerationRequestOutputFormat,
    "options.background": components.ImageGenerationRequestBackground,
    "options.quality": components.ImageGenerationRequestQuality,
    "options.resolution": components.ImageGenerationRequestResolution,
    "options.provider.sort": components.ProviderSort,
}


def _request(**fields: object) -> GenerationRequest:
    return GenerationRequest.model_validate({"prompt": "a cat", "model": "m/x", **fields})


def _faults(**fields: object) -> dict[str, str]:
    return dict(openrouter.check(_request(**fields)))


def _as_the_sdk_sends_it(body: dict[str, object]) -> object:
    return components.ImageGenerationRequest.model_validate(body).model_dump(by_alias=True)


def test_a_full_request_becomes_the_documented_body_and_the_vendors_sdk_would_send_the_same() -> None:
    options = {
        "background": "transparent",
        "output_compression": 80,
        "quality": "high",
        "provider": {
            "only": ["google-vertex"],
            "order": ["google-vertex", "black-forest-labs"],
            "ignore": ["openai"],
            "sort": {"by": "price", "partition": "none"},
            "allow_fallbacks": False,
            "options": {"black-forest-labs": {"guidance": 3.5}},
        },
        "user": "someone",
        "session_id": "spring",
        "trace": {"trace_name": "spring", "customer": "4711"},
    }
    inline = "data:image/gif;base64,AAAA"
    request = _request(
        aspect_ratio="16:9",
        size="2K",
        n=4,
        seed=-7,
        output_format="webp",
        references=[_LINK, inline],
        options=options,
    )
    assert openrouter.check(request) == []
    body = openrouter.body(request)
    assert body == {
        "model": "m/x",
        "prompt": "a cat",
        "aspect_ratio": "16:9",
        "size": "2K",
        "n": 4,
        "seed": -7,
        "output_format": "webp",
        "input_references": [
            {"type": "image_url", "image_url": {"url": _LINK}},
            {"type": "image_url", "image_url": {"url": inline}},
        ],
        **options,
    }
    assert _as_the_sdk_sends_it(body) == body


def test_a_short_request_says_how_many_and_leaves_the_rest_to_the_model() -> None:
    assert openrouter.body(_request()) == {"model": "m/x", "prompt": "a cat", "n": 1}


def test_every_parameter_of_the_vendors_sdk_is_in_the_catalog_and_none_is_made_up() -> None:
    ours = {parameter.wire for parameter in openrouter.PARAMETERS} | set(openrouter.OURS)
    assert ours == set(components.ImageGenerationRequest.model_fields)
    members = {p.wire.removeprefix("provider.") for p in _flat() if p.wire.count(".") == 1 and "provider." in p.wire}
    assert members == set(components.ImageGenerationProviderPreferences.model_fields)
    traces = {p.wire.removeprefix("trace.") for p in _flat() if p.wire.startswith("trace.")}
    assert traces == set(components.TraceConfig.model_fields)


def _flat() -> list[Parameter]:
    return [part for parameter in openrouter.PARAMETERS for part in parameter.flat()]


@pytest.mark.parametrize("field", _KNOWN)
def test_the_known_values_are_those_of_the_vendors_sdk(field: str) -> None:
    (parameter,) = (parameter for parameter in _flat() if parameter.field == field)
    assert parameter.loose
    assert set(parameter.values) == set(get_args(get_args(_KNOWN[field])[0]))


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"model": None}, "model", "is required by OpenRouter"),
        ({"model": "flux"}, "model", "must look like google/gemini-2.5-flash-image"),
        ({"aspect_ratio": "wide"}, "aspect_ratio", "must look like 16:9"),
        ({"aspect_ratio": "0:9"}, "aspect_ratio", "must look like 16:9"),
        ({"size": "2k"}, "size", "must look like 2K or 2048x2048"),
        ({"size": "2048x"}, "size", "must look like 2K or 2048x2048"),
        ({"output_format": "PNG"}, "output_format", "must look like png"),
        ({"references": ["ftp://x.example/a.png"]}, "references", "item 1 must be an https or http URL or a data URL"),
        ({"references": [_LINK, "data:image/tiff;base64,AAAA"]}, "references", "item 2 must be a base64 data URL of"),
        ({"options": {"stream": True}}, "options.stream", "not for rows to set: a result is stored whole"),
        ({"options": {"colour": "red"}}, "options.colour", "not an option of OpenRouter; it knows resolution, quality"),
        ({"options": {"seed": 7}}, "options.seed", "is the common field seed"),
        ({"options": {"quality": 7}}, "options.quality", "must be text"),
        ({"options": {"output_compression": 101}}, "options.output_compression", "must be from 0 to 100"),
        ({"options": {"output_compression": True}}, "options.output_compression", "must be a whole number"),
        ({"options": {"user": " "}}, "options.user", "is blank"),
        ({"options": {"session_id": "x" * 257}}, "options.session_id", "has 257 characters; the limit is 256"),
        ({"options": {"provider": "google-vertex"}}, "options.provider", "must be an object"),
        ({"options": {"provider": {"allow_fallback": True}}}, "options.provider.allow_fallback", "known: only, order"),
        ({"options": {"provider": {"only": "openai"}}}, "options.provider.only", "must be a list"),
        ({"options": {"provider": {"only": ["openai", 1]}}}, "options.provider.only", "item 2 must be the slug"),
        ({"options": {"provider": {"sort": 1}}}, "options.provider.sort", "must be text"),
        ({"options": {"provider": {"sort": {"by": 1}}}}, "options.provider.sort.by", "must be text"),
        ({"options": {"provider": {"options": []}}}, "options.provider.options", "must be an object"),
        (
            {"options": {"provider": {"allow_fallbacks": "no"}}},
            "options.provider.allow_fallbacks",
            "must be true or false",
        ),
        ({"options": {"trace": {"trace_id": 1}}}, "options.trace.trace_id", "must be text"),
        (
            {"output_format": "jpeg", "options": {"background": "transparent"}},
            "options.background",
            "transparent needs output_format png or webp",
        ),
        (
            {"output_format": "png", "options": {"output_compression": 50}},
            "options.output_compression",
            "has an effect on jpeg and webp only",
        ),
        ({"size": "2K", "options": {"resolution": "4K"}}, "options.resolution", "does not go with size"),
        ({"size": "2048x2048", "options": {"resolution": "2K"}}, "options.resolution", "does not go with size"),
        ({"size": "1024x1024", "aspect_ratio": "16:9"}, "aspect_ratio", "is not that of size"),
    ],
)
def test_what_openrouter_cannot_do_is_refused_with_its_real_limit(
    fields: dict[str, object], field: str, words: str
) -> None:
    faults = _faults(**fields)
    assert list(faults) == [field]
    assert words in faults[field]


@pytest.mark.parametrize(
    "fields",
    [
        {"aspect_ratio": "17:9"},
        {"aspect_ratio": "auto", "size": "1024x1024"},
        {"size": "8K"},
        {"output_format": "avif"},
        {"options": {"quality": "ultra"}},
        {"options": {"background": "checkered"}},
        {"options": {"resolution": "8K"}},
        {"options": {"trace": {"customer": {"id": 4711}}}},
        {"size": "2K", "options": {"resolution": "2K"}},
        {"size": "2K", "aspect_ratio": "16:9"},
        {"size": "1344x768", "aspect_ratio": "16:9"},
        {"output_format": "webp", "options": {"background": "transparent", "output_compression": 0}},
        {"options": {"background": "transparent"}},
        {"references": [_LINK] * 16},
    ],
)
def test_what_may_be_right_is_left_to_openrouter(fields: dict[str, object]) -> None:
    assert _faults(**fields) == {}


def test_inline_references_together_must_fit_one_body() -> None:
    url = "data:image/png;base64," + "A" * (4 * 2**20)
    assert _faults(references=[url] * 6) == {}
    assert "larger than 26214400 bytes" in _faults(references=[url] * 7)["references"]


def test_the_price_is_unknown_unless_the_account_states_it_and_then_times_n() -> None:
    assert openrouter.price(_request()) is None
    assert openrouter.price(_request(n=3), {"m/x": Decimal("0.04")}) == (Decimal("0.12"), "USD")
    assert openrouter.price(_request(model="m/y"), {"m/x": Decimal("0.04")}) is None


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "aspect_ratio": st.sampled_from(["1:1", "2.35:1", "9:19.5", "auto", "wide"]),
            "size": st.sampled_from(["512", "1.5K", "4K", "1024x1024", "huge"]),
            "n": st.integers(1, 10),
            "seed": st.integers(-(2**63), 2**63 - 1),
            "output_format": st.sampled_from(["png", "jpeg", "webp", "svg"]),
            "references": st.lists(st.just(_LINK), max_size=16),
            "options": st.fixed_dictionaries(
                {},
                optional={
                    "resolution": st.sampled_from(["512", "2K", 512]),
                    "quality": st.sampled_from(["low", "max", None]),
                    "background": st.sampled_from(["transparent", "opaque", True]),
                    "output_compression": st.integers(-1, 101),
                    "provider": st.fixed_dictionaries({"sort": st.sampled_from(["price", {"by": "latency"}, []])}),
                },
            ),
        },
    )
)
def test_the_vendors_sdk_takes_every_request_that_check_accepts(fields: dict[str, object]) -> None:
    request = _request(**fields)
    if openrouter.check(request) == []:
        body = openrouter.body(request)
        assert _as_the_sdk_sends_it(body) == body
