"""Caps as people write them: read to the cent, or named with what is wrong."""

from decimal import Decimal

import pytest

from producer.money import CapError, parse_caps


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        (["getimg"], "names no provider, and the rows go to bloom, getimg"),
        (["getimg="], "has no amount such as 10.00"),
        (["getimg=ten"], "has no amount such as 10.00"),
        (["getimg=-1"], "has no amount such as 10.00"),
        (["getimg=nan"], "has no amount such as 10.00"),
        (["getimg=Infinity"], "has no amount such as 10.00"),
        (["getimg=1e200000"], "has no amount such as 10.00"),
        (["getimg=1e999999999"], "has no amount such as 10.00"),
        (["=10"], "is not a provider; known: "),
        (["nobody=10"], "'nobody' in the cap 'nobody=10' is not a provider"),
        (["getimg=1=2"], "is not a provider"),
        (["getimg=1", "getimg=2"], "two caps for getimg"),
        (["10"], "names no provider, and the rows go to bloom, getimg: write PROVIDER=AMOUNT"),
        (["x" * 10_000 + "=10"], "is not a provider"),
    ],
)
def test_a_cap_that_cannot_be_read_is_named_with_what_is_wrong(texts: list[str], complaint: str) -> None:
    with pytest.raises(CapError, match=complaint) as caught:
        parse_caps(texts, providers=["bloom", "getimg"])
    assert len(str(caught.value)) < 400


def test_an_amount_alone_is_for_the_only_provider_that_costs_money() -> None:
    assert parse_caps([" 10.50 "], providers=["banatie", "getimg"]) == {"getimg": Decimal("10.50")}
    assert parse_caps(["getimg = 1"], providers=["bloom"]) == {"getimg": Decimal(1)}
    assert parse_caps([], providers=["bloom"]) == {}
    with pytest.raises(CapError, match="no provider of these rows costs money"):
        parse_caps(["10"], providers=["banatie"])
