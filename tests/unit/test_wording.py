"""Text of a provider's: the key is out of it in any form before it is cut, and it is one line that shows what it is."""

import base64
import html
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from shared.lifecycle import ImageState
from tests.support.canned_wire import KEY, account, polled, reply, submitted
from worker.providers.wording import KEY_MARK, line_of, redacted, web_address

ODD = "k&y/with+odd=<chars>\"'%20~and-more"
SECRETS = pytest.mark.parametrize("secret", [KEY, ODD, "bnt_0123456789abcdef" * 4])
EACH = pytest.mark.parametrize("provider", ["bloom", "getimg", "openrouter", "posteverywhere", "banatie"])


def encoded(secret: str, before: str) -> str:
    return base64.b64encode(f"{before}{secret} and more".encode()).decode()


def forms(secret: str) -> dict[str, str]:
    raw = secret.encode()
    return {
        "plain": secret,
        "upper": secret.upper(),
        "lower": secret.lower(),
        "bearer": f"Bearer {secret}",
        "url": quote(secret, safe=""),
        "url, lower case": quote(secret, safe="").lower(),
        "url, twice": quote(quote(secret, safe=""), safe=""),
        "url, all": "".join(f"%{byte:02X}" for byte in raw),
        "json": "".join(f"\\u{ord(one):04x}" for one in secret),
        "escaped": secret.replace("/", "\\/").replace('"', '\\"'),
        "html": html.escape(secret, quote=True),
        "html, decimal": "".join(f"&#{ord(one)};" for one in secret),
        "hex": raw.hex(),
        "hex, upper case": raw.hex().upper(),
        "hex, colons": raw.hex(":"),
        "base64": base64.b64encode(raw).decode(),
        "base64, unpadded": base64.b64encode(raw).decode().rstrip("="),
        "base64, urlsafe": base64.urlsafe_b64encode(raw).decode(),
        "base64, second": encoded(secret, "x"),
        "base64, third": encoded(secret, "xy"),
        "base64, basic": base64.b64encode(f"user:{secret}".encode()).decode(),
        "zero width": "\u200b".join(secret),
        "bidi": "\u202e" + "\u2066".join(secret),
    }


@SECRETS
@pytest.mark.parametrize("form", list(forms("x")))
def test_the_key_is_taken_out_in_every_form(form: str, secret: str) -> None:
    given = forms(secret)[form]
    line = line_of(f"the key {given} is wrong", SecretStr(secret)) or ""
    assert KEY_MARK in line
    assert line.startswith("the key ")
    assert line.endswith(" is wrong")
    assert given not in line


@SECRETS
@pytest.mark.parametrize("form", list(forms("x")))
@pytest.mark.parametrize("before", [480, 490, 499, 3990, 3999, 4000])
def test_no_cut_leaves_a_part_of_the_key(before: int, form: str, secret: str) -> None:
    given = forms(secret)[form]
    for text in (redacted("." * before + given, SecretStr(secret)), line_of("." * before + given, SecretStr(secret))):
        assert given[:12] not in (text or "")


def test_keys_in_a_row_hide_no_part_of_one_behind_them() -> None:
    line = line_of(KEY * 10_000, SecretStr(KEY)) or ""
    assert KEY_MARK.startswith(line.replace(KEY_MARK, ""))
    assert len(line) <= 500


def test_a_long_text_is_looked_through_in_no_time_and_kept_short() -> None:
    for text in ("A" * 4_000_000, "%" * 4_000_000, KEY[:-1] * 200_000, "0" * 4_000_000):
        assert len(line_of(text, SecretStr(KEY)) or "") <= 500


def test_a_word_that_only_looks_like_the_key_stays() -> None:
    assert line_of("sk-planted is a short prefix", SecretStr(KEY)) == "sk-planted is a short prefix"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("a\u202eb\u2066c\u200ed\u061ce", "abcde"),
        ("a\u2028b\u2029c", "a b c"),
        ("zero\u200b\u200d\ufeffwidth", "zerowidth"),
        ("a\x00b\x1b[31mc\x9bd\x7fe", "a b [31mc d e"),
        ("half \ud800 a character", "half   a character"),
        ("two\r\nlines\tand tabs", "two lines and tabs"),
        ("see https://h.example/p?sig=1&b=2 there", "see https://h.example/p?... there"),
        ("see https://h.example/p#token=1", "see https://h.example/p?..."),
        ("see HTTPS://u:p@h.example/p", "see HTTPS://h.example/p"),
        ("see s3://bucket/x?X-Amz-Signature=1", "see s3://bucket/x?..."),
        ("path /p?sig=1 alone", "path /p?... alone"),
        ("to https%3A%2F%2Fh.example%2Fp%3Fsig%3D1 there", "to https%3A%2F%2Fh.example%2Fp?... there"),
        ("to h.example%252Fp%253fsig%253D1%2526b", "to h.example%252Fp?..."),
        ("100%3F", "100%3F"),
        ("why? because=so", "why? because=so"),
        (42, "42"),
        (True, None),
        (None, None),
        (["a"], None),
        (" ", None),
    ],
)
def test_a_text_becomes_one_line_that_shows_what_it_is(said: Any, kept: str | None) -> None:
    assert line_of(said, SecretStr(KEY)) == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://trybloom.ai/pricing?plan=pro", "https://trybloom.ai/pricing?plan=pro"),
        ("http://h.example/", "http://h.example/"),
        ("javascript:alert(1)", None),
        ("//h.example/", None),
        ("https:///nowhere", None),
        ("https://user@h.example/", None),
        ("https://user:pass@h.example/", None),
        ("https://h.example/ and more", None),
        ("https://h.example/\u202egpj", "https://h.example/gpj"),
        ("https://h.example/\n", None),
        ("https://h.example/\\", None),
        ("https://[::1", None),
        ("https://h.example/" + "x" * 3000, None),
        (7, None),
        (None, None),
    ],
)
def test_a_link_for_a_person_is_plain_http_or_nothing(given: Any, kept: str | None) -> None:
    assert web_address(given, SecretStr(KEY)) == kept


@pytest.mark.parametrize("form", list(forms("x")))
def test_no_link_for_a_person_has_the_key_in_it(form: str) -> None:
    given = forms(KEY)[form]
    link = web_address(f"https://h.example/{given}", SecretStr(KEY)) or ""
    assert KEY.lower() not in link.lower()
    assert given not in link


def everything(provider: str, text: str, status: int) -> list[Any]:
    """Return all that is kept of answers that quote `text` wherever a provider may word something."""
    error = {
        "code": text,
        "message": text,
        "error_type": text,
        "data": {"action_url": f"https://h.example/{text}"},
        "metadata": {"error_type": text},
    }
    envelope = {"success": False, "data": None, "error": error}
    brands = {"data": {"images": [], "brands": [{"name": text, "status": text}], "balance": 1}}
    failed = {"data": {"id": "a", "status": "failed", "errorMessage": text}}
    return [
        submitted(provider, reply(status, envelope)),
        submitted(provider, reply(status, error)),
        account(provider, reply(status, envelope)),
        account(provider, reply(200, brands)),
        submitted(provider, reply(201, failed)),
        polled(reply(status, envelope), "a", provider=provider),
        polled(reply(200, failed), "a", provider=provider),
    ]


@EACH
@pytest.mark.parametrize("status", [200, 400, 401, 500])
@pytest.mark.parametrize("form", list(forms("x")))
def test_nothing_that_is_kept_of_an_answer_quotes_the_key(form: str, status: int, provider: str) -> None:
    given = forms(KEY)[form]
    for text in (given, "." * 490 + given, "." * 290 + given, "." * 90 + given):
        kept = repr(everything(provider, text, status))
        assert KEY.lower() not in kept.lower()
        assert given[:12] not in kept


def test_banaties_words_for_a_failure_are_kept_as_one_clean_line() -> None:
    said = {"data": {"id": "a", "status": "failed", "errorMessage": "no\u202e\u2028way"}}
    found = polled(reply(200, said), "a", provider="banatie")["a"]
    assert (found.state, found.error) == (ImageState.FAILED, "no way")
