"""The form of a token: found by secret scanners, and told from a mistyped one before anybody asks the database."""

import re

from shared.tokens import new_token, token_hash, token_id


def test_a_token_has_a_prefix_an_id_and_a_checksum() -> None:
    named, secret = new_token()
    assert re.fullmatch(rf"gq_{named}_[0-9A-Za-z]{{49}}", secret.get_secret_value())
    assert token_id(secret.get_secret_value()) == named
    assert secret.get_secret_value() not in repr(secret)


def test_no_token_is_like_another() -> None:
    made = [new_token() for _ in range(100)]
    assert len({named for named, _ in made}) == len({token_hash(one.get_secret_value()) for _, one in made}) == 100


def test_one_wrong_character_anywhere_makes_it_no_token() -> None:
    text = new_token()[1].get_secret_value()
    for index, character in enumerate(text):
        other = "a" if character != "a" else "b"
        assert token_id(text[:index] + other + text[index + 1 :]) is None


def test_other_texts_are_no_tokens() -> None:
    text = new_token()[1].get_secret_value()
    for other in ("", "gq_", text + "0", text + "\n", " " + text, text[:-1] + "\u0660", "gq_" + "0" * 58):
        assert token_id(other) is None
