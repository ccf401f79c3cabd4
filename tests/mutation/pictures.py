"""Mutants of the copy into the bucket: a 200 is not an image, and what is stored is what was made."""

from typing import Final

from tests.mutation.mutant import Mutant

_TRANSFER: Final = "tests/integration/test_transfer.py::"

MUTANTS: Final = (
    Mutant(
        removed="the SHA-256 that S3 verifies",
        protects="bytes that were damaged on the way are never recorded as stored",
        file="worker/storage.py",
        old="                ChecksumSHA256=spool.sha256_base64,\n",
        new="",
        tests=(
            "tests/integration/test_storage.py::test_bytes_that_do_not_match_their_hash_are_refused_and_not_stored",
        ),
    ),
    Mutant(
        removed="the check that the bytes are one whole image",
        protects="an error page or half a picture never counts as a result",
        file="worker/copy.py",
        old="    return imagecheck.check(\n        file,\n",
        new='    return ImageFacts("png", "image/png", "png", 1, 1) if file else imagecheck.check(\n        file,\n',
        tests=(_TRANSFER + "test_a_result_that_is_no_image_or_leads_astray_fails_by_its_name_and_stores_nothing",),
    ),
    Mutant(
        removed="the address guard",
        protects="a link in an answer cannot make a worker read our own network",
        file="worker/address_guard.py",
        old="        reason = why_not_public(plain)\n",
        new="        reason = None\n",
        tests=(
            "tests/unit/test_address_guard.py::test_a_link_to_an_address_that_is_not_public_or_oddly_spelled_is_refused",
        ),
    ),
)
