"""The catalog as a whole: what every provider must have, whichever it is."""

from dataclasses import FrozenInstanceError
from decimal import Decimal
from urllib.parse import urlsplit

import pytest

from shared import catalog
from shared.requests import GenerationRequest

# Which models getimg has only it knows; OpenRouter's formats grow, and its n and seed have no narrower limits.
_LEFT_TO_THEM = {("getimg", "model")} | {("openrouter", field) for field in ("n", "seed", "output_format")}
_EACH = pytest.mark.parametrize("name", catalog.names())


def test_an_unknown_provider_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        catalog.UnknownProviderError, match=r"no provider is named 'blom'; known: banatie, bloom, getimg"
    ):
        catalog.get("blom")


@_EACH
def test_a_provider_is_found_by_its_name_and_states_its_limits(name: str) -> None:
    provider = catalog.get(name)
    assert provider.name == name
    assert urlsplit(provider.base_url).scheme == "https"
    assert not provider.base_url.endswith("/")
    assert provider.concurrency >= 1
    assert provider.timeout_seconds >= (120 if name in ("openrouter", "banatie", "posteverywhere") else 60)
    assert all(window.requests > 0 and window.seconds > 0 for window in provider.windows)
    assert 1 <= provider.max_images <= 10


@_EACH
def test_a_provider_cannot_be_changed_by_accident(name: str) -> None:
    with pytest.raises(FrozenInstanceError):
        catalog.get(name).concurrency = 1000  # type: ignore[misc]


@_EACH
def test_every_parameter_comes_from_a_common_field_or_an_option(name: str) -> None:
    parameters = catalog.get(name).parameters
    flat = [part for parameter in parameters for part in parameter.flat()]
    for parameter in flat:
        assert parameter.field in GenerationRequest.model_fields or parameter.field.startswith("options.")
        for member in parameter.members:
            assert member.field.rpartition(".")[0] == parameter.field
            assert member.wire.rpartition(".")[0] == parameter.wire
    assert len({parameter.wire for parameter in flat}) == len(flat)
    assert len({parameter.field for parameter in flat}) == len(flat)


@_EACH
def test_every_value_listed_is_taken_and_only_a_loose_list_leaves_others_to_the_provider(name: str) -> None:
    flat = [part for parameter in catalog.get(name).parameters for part in parameter.flat()]
    assert any(parameter.values for parameter in flat)
    for parameter in flat:
        assert not parameter.loose or (parameter.values and parameter.pattern and parameter.example)
        for value in parameter.values:
            if value != "WIDTHxHEIGHT":
                assert list(parameter.faults(value)) == []
        if parameter.values:
            # A loose list still has a shape.
            assert list(parameter.faults("?"))
        if parameter.default is not None:
            assert list(parameter.faults(parameter.default)) == []


@pytest.mark.parametrize(("name", "wire"), [("banatie", "meta"), ("openrouter", "stream")])
def test_what_is_ours_to_send_is_refused_in_a_row_with_the_reason(name: str, wire: str) -> None:
    provider = catalog.get(name)
    request = GenerationRequest.model_validate({"prompt": "x", "model": "m/x", "options": {wire: True}})
    assert (f"options.{wire}", f"is not for rows to set: {provider.ours[wire]}") in provider.check(request)


@_EACH
def test_a_price_is_in_the_providers_unit_and_covers_every_image(name: str) -> None:
    provider = catalog.get(name)
    one = GenerationRequest.model_validate({"prompt": "x"})
    many = GenerationRequest.model_validate({"prompt": "x", "n": provider.max_images})
    price = provider.price(one, {"": Decimal("0.5")})
    assert price is not None
    assert price.unit == provider.unit
    assert provider.price(many, {"": Decimal("0.5")}) == (price.amount * provider.max_images, provider.unit)


@_EACH
def test_no_field_of_a_request_is_silently_dropped(name: str) -> None:
    provider = catalog.get(name)
    taken = {parameter.field for parameter in provider.parameters}
    odd = {
        "model": "no such",
        "aspect_ratio": "odd",
        "size": "odd",
        "n": 10,
        "seed": 7,
        "output_format": "tiff",
    }
    request = GenerationRequest.model_validate({"prompt": "a cat", **odd, "references": ["odd"], "options": {"odd": 1}})
    faulted = {fault.field for fault in provider.check(request)}
    for field in (*odd, "references", "options.odd"):
        assert field in taken | faulted
        assert field in faulted or (name, field) in _LEFT_TO_THEM


@_EACH
def test_no_fault_quotes_a_value(name: str) -> None:
    request = GenerationRequest(
        prompt="secret" * 1000,
        model="secret",
        size="secret",
        seed=1,
        output_format="secret",
        references=("https://secret.example/?sig=1", "file:secret"),
        options={"brandSessionId": "secret", "x": "secret"},
    )
    faults = catalog.get(name).check(request)
    assert faults
    assert "secret" not in str([fault.message for fault in faults])
