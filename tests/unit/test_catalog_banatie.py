"""Banatie's limits and body, row by row against its documents."""

from decimal import Decimal

import pytest

from shared.catalog import banatie
from shared.requests import GenerationRequest

_IMAGE = "7c4ccf47-41ce-4718-afbc-8c553b2c631a"
_FLOW = "770e8400-e29b-41d4-a716-446655440002"
_TEMPLATES = ["general", "photorealistic", "illustration", "minimalist", "sticker", "product", "comic"]


def _request(**fields: object) -> GenerationRequest:
    return GenerationRequest.model_validate({"prompt": "a cat", **fields})


def _faults(**fields: object) -> dict[str, str]:
    return dict(banatie.check(_request(**fields)))


def test_a_full_request_becomes_the_documented_body() -> None:
    options = {
        "autoEnhance": True,
        "enhancementOptions": {"template": "comic"},
        "alias": "@hero",
        "flowId": _FLOW,
        "flowAlias": "@first-frame",
    }
    request = _request(aspect_ratio="21:9", references=["@logo", _IMAGE], options=options)
    assert banatie.check(request) == []
    assert banatie.body(request) == {
        "prompt": "a cat",
        "aspectRatio": "21:9",
        "referenceImages": ["@logo", _IMAGE],
        **options,
    }


def test_the_ratio_is_sent_even_when_the_row_is_silent_because_the_documents_disagree_on_it() -> None:
    assert banatie.body(_request()) == {"prompt": "a cat", "aspectRatio": "1:1"}


@pytest.mark.parametrize("template", _TEMPLATES)
def test_each_documented_template_is_taken(template: str) -> None:
    assert _faults(options={"enhancementOptions": {"template": template}}) == {}


@pytest.mark.parametrize("ratio", ["1:1", "16:9", "9:16", "3:2", "21:9"])
def test_each_documented_ratio_is_taken(ratio: str) -> None:
    assert _faults(aspect_ratio=ratio) == {}


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"prompt": "x" * 2001}, "prompt", "has 2001 characters; the limit is 2000"),
        ({"aspect_ratio": "4:3"}, "aspect_ratio", "one of 1:1, 16:9, 9:16, 3:2, 21:9"),
        ({"n": 2}, "n", "Banatie makes one image a call; n must be 1"),
        ({"model": "x"}, "model", "Banatie has no model"),
        ({"size": "2K"}, "size", "Banatie has no size"),
        ({"seed": 1}, "seed", "Banatie has no seed"),
        ({"output_format": "png"}, "output_format", "Banatie has no output_format"),
        ({"references": ["@a", "@b", "@c", "@d"]}, "references", "has 4 items; the limit is 3"),
        ({"references": ["@a", "cat.png"]}, "references", "item 2 must be the UUID or the @alias"),
        ({"references": ["https://x.example/a.png"]}, "references", "not a URL or a file"),
        ({"options": {"meta": {"a": 1}}}, "options.meta", "not for rows to set: the worker keeps the job's id there"),
        ({"options": {"aspectRatio": "1:1"}}, "options.aspectRatio", "is the common field aspect_ratio"),
        ({"options": {"autoEnhance": "yes"}}, "options.autoEnhance", "must be true or false"),
        ({"options": {"enhancementOptions": "comic"}}, "options.enhancementOptions", "must be an object"),
        (
            {"options": {"enhancementOptions": {"template": "anime"}}},
            "options.enhancementOptions.template",
            "must be one of general, photorealistic",
        ),
        ({"options": {"enhancementOptions": {"style": "x"}}}, "options.enhancementOptions.style", "known: template"),
        ({"options": {"alias": "hero"}}, "options.alias", "must look like @hero"),
        ({"options": {"flowId": "mine"}}, "options.flowId", "must be a UUID"),
        ({"options": {"flowAlias": "@x"}}, "options.flowAlias", "needs options.flowId as well"),
        (
            {"options": {"autoEnhance": False, "enhancementOptions": {"template": "comic"}}},
            "options.enhancementOptions",
            "has no effect while autoEnhance is false",
        ),
    ],
)
def test_what_banatie_cannot_do_is_refused_with_its_real_limit(
    fields: dict[str, object], field: str, words: str
) -> None:
    faults = _faults(**fields)
    assert list(faults) == [field]
    assert words in faults[field]


def test_it_is_free_by_declaration_and_says_so_in_its_unit() -> None:
    assert banatie.price(_request()) == (Decimal(0), "unbilled")
    assert banatie.PROVIDER.unit == "unbilled"
