"""A webhook's URL is refused when it is given, if no worker could ever post to it."""

import pytest

from shared.webhook_urls import url_complaint
from worker.transport.address_guard import AddressGuard, AddressRefused

NEVER = (
    *("https://[::1", "https://a.example:99999/", "https:///x", "https://", "https://%zz/", "https://a b/", "ftp://a/"),
    *("https://a.example:0/", "https://a.example:x/", "https://user:word@a.example/", "https://a\n.example/"),
    "a.example",
    *("https://a.example/\x00", "https://a\u2028.example/", "https://" + "x" * 2000, "", "https://:80/"),
)
MAY_BE = (
    *("https://shop.example/hooks", "http://shop.internal:8080/x?y=1#z", "https://[2001:db8::1]:8443/"),
    "https://bücher.example/",
)


@pytest.mark.parametrize("url", NEVER, ids=ascii)
def test_a_url_that_can_never_be_posted_to_is_refused_without_its_text(url: str) -> None:
    complaint = url_complaint(url)
    assert complaint
    assert "word" not in complaint.removesuffix("password")


@pytest.mark.parametrize("url", MAY_BE, ids=ascii)
def test_a_url_to_which_a_worker_may_post_is_taken(url: str) -> None:
    assert url_complaint(url) is None


@pytest.mark.parametrize(
    "url", [url for url in NEVER if url.isprintable() and len(url) < 100 and "%" not in url], ids=ascii
)
def test_a_worker_refuses_what_is_refused_when_it_is_given(url: str) -> None:
    with pytest.raises(AddressRefused):
        AddressGuard().check_url(url)
