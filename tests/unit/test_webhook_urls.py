"""Webhook URLs: what no worker could ever post to is refused, and the worker's own judge agrees."""

import pytest

from shared.webhook_urls import check_url
from worker.transport.address_guard import AddressGuard, AddressRefused

GOOD = [
    "https://shop.example/hooks?a=1",
    "http://shop.example:8080/",
    "https://shop.example.",
    "https://93.184.216.34/",
    "https://[2606:2800::1]/x",
    "https://bücher.example/",
    "https://a_b.example/",
    "HTTPS://SHOP.example/",
]
NEVER = [
    "https://[::1",
    "https://a.example:99999/",
    "https://a.example:0/",
    "https:///x",
    "https://%zz/",
    "ftp://a.example/",
    "https://user:word@a.example/",
    "https://user@a.example/",
    "https://a..example/",
    "https://a.example:port/",
    "https://",
    "https://a,b.example/",
    "shop.example",
    "https://[zz]/",
]


@pytest.mark.parametrize("url", GOOD)
def test_a_url_that_can_be_posted_to_passes(url: str) -> None:
    check_url(url)
    assert AddressGuard(allow_http=True).check_url(url)


@pytest.mark.parametrize("url", NEVER)
def test_a_url_that_can_never_be_posted_to_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(ValueError, match="the URL") as refused:
        check_url(url)
    assert "word" not in str(refused.value)
    with pytest.raises(AddressRefused):
        AddressGuard(["0.0.0.0/0", "::/0"], allow_http=True).check_url(url)
