import hashlib
import os
import resource
from pathlib import Path

import pytest

from worker.transport.spool import Spool, SpoolError, SpoolFull, TooLarge


def test_small_content_is_hashed_counted_and_read_back_without_touching_the_disk(tmp_path: Path) -> None:
    missing = tmp_path / "not-there"
    with Spool(directory=missing, max_bytes=100) as spool:
        spool.write(b"one ")
        spool.write(b"two")
        assert (spool.length, spool.sha256) == (7, hashlib.sha256(b"one two").hexdigest())
        assert spool.rewound().read() == b"one two"
        assert spool.rewound().read(3) == b"one"


def test_large_content_lives_in_a_nameless_file_and_reads_back_whole(tmp_path: Path) -> None:
    content = os.urandom(300_000)
    with Spool(directory=tmp_path, max_bytes=10**6, memory_bytes=1000) as spool:
        for start in range(0, len(content), 7001):
            spool.write(content[start : start + 7001])
        assert spool.rewound().read() == content
        assert spool.rewound().seekable()
        assert list(tmp_path.iterdir()) == []


def test_the_base64_digest_is_the_same_as_the_hexadecimal_one(tmp_path: Path) -> None:
    with Spool(directory=tmp_path, max_bytes=10) as spool:
        assert spool.sha256_base64 == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def test_exactly_the_cap_is_accepted_and_one_byte_more_is_refused_and_not_kept(tmp_path: Path) -> None:
    with Spool(directory=tmp_path, max_bytes=10) as spool:
        spool.write(b"0123456789")
        with pytest.raises(TooLarge) as caught:
            spool.write(b"x")
        assert (caught.value.code, caught.value.retryable) == ("result_too_large", False)
        assert spool.rewound().read() == b"0123456789"


def test_a_spool_that_was_read_takes_no_more_bytes(tmp_path: Path) -> None:
    with Spool(directory=tmp_path, max_bytes=10) as spool:
        spool.rewound()
        with pytest.raises(ValueError, match="written once"):
            spool.write(b"late")


def test_closing_is_deterministic_and_may_be_repeated(tmp_path: Path) -> None:
    spool = Spool(directory=tmp_path, max_bytes=10)
    spool.close()
    spool.close()
    assert spool.closed
    with pytest.raises(ValueError, match="written once"):
        spool.write(b"x")


def test_a_full_disk_is_a_retryable_error_that_names_the_directory(tmp_path: Path) -> None:
    # The kernel's own file size limit stands in for a full disk.
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Spool(directory=tmp_path, max_bytes=10**7, memory_bytes=1000) as spool:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, old[1]))
        try:
            with pytest.raises(SpoolFull, match=str(tmp_path)) as caught:
                spool.write(bytes(600_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert (caught.value.code, caught.value.retryable) == ("spool_full", True)


def test_a_missing_directory_is_named_when_the_content_outgrows_memory(tmp_path: Path) -> None:
    with (
        Spool(directory=tmp_path / "gone", max_bytes=10**6, memory_bytes=10) as spool,
        pytest.raises(SpoolError, match="gone: No such file or directory") as caught,
    ):
        spool.write(bytes(100))
    assert (caught.value.code, caught.value.retryable) == ("spool_unwritable", True)
