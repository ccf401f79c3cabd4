"""The catalog as a whole: what every provider must have, whichever it is."""

from dataclasses import FrozenInstanceError
from urllib.parse import urlsplit

import pytest

from shared import catalog
from shared.requests import GenerationRequest

_EACH = pytest.mark.parametrize("name", catalog.names())


def test_an_unknown_provider_is_answered_with_the_known_ones() -> None:
    with pytest.raises(catalog.UnknownProviderError, match=r"no provider is named 'blom'; known: bloom, getimg"):
        catalog.get("blom")


@_EACH
def test_a_provider_is_found_by_its_name_and_states_its_limits(name: str) -> None:
    provider = catalog.get(name)
    assert provider.name == name
    assert urlsplit(provider.base_url).scheme == "https"
    assert not provider.base_url.endswith("/")
    assert provider.concurrency >= 1
    assert provider.timeout_seconds > 0
    assert 1 <= provider.max_images <= 10


@_EACH
def test_a_provider_cannot_be_changed_by_accident(name: str) -> None:
    with pytest.raises(FrozenInstanceError):
        catalog.get(name).concurrency = 1000  # type: ignore[misc]


@_EACH
def test_every_parameter_comes_from_a_common_field_or_an_option(name: str) -> None:
    parameters = catalog.get(name).parameters
    for parameter in parameters:
        assert parameter.field in GenerationRequest.model_fields or parameter.field.startswith("options.")
    assert len({parameter.wire for parameter in parameters}) == len(parameters)
    assert len({parameter.field for parameter in parameters}) == len(parameters)


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
        # getimg alone takes any model: which exist only it knows.
        assert field in faulted or (name == "getimg" and field == "model")
        assert field in taken | faulted


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
