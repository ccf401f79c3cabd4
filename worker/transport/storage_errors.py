"""What S3 does not carry out, as errors of ours.

    TransferError (worker.transport.spool)                                              code                    again?
    `-- StorageError             S3 did not carry out a request
        |-- StorageUnavailable   no connection, 5xx, or asked to slow down    storage_unavailable     yes
        |-- StorageDamaged       S3 received other bytes than were sent       storage_damaged         yes
        |-- StorageRefused       credentials, rights, bucket or region        storage_refused         no
        `-- ObjectMissing        no object under that key                     storage_object_missing  no

Messages name the bucket, the endpoint and the setting; never a credential.
"""

# ruff: noqa: N818 - an error is named for what happened to the object

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ResponseStreamingError,
)
from botocore.exceptions import ConnectionError as S3ConnectionError

from worker.transport.faithful_reader import FaithfulReader
from worker.transport.spool import TransferError

_SERVER_ERROR: Final = 500


class StorageError(TransferError):
    """S3 did not carry out a request."""

    code = "storage_unavailable"
    retryable = True


class StorageUnavailable(StorageError):
    """S3 could not be reached, failed, or asked for a slower pace."""


class StorageDamaged(StorageError):
    """S3 refused the object because its bytes are not those that the checksum names."""

    code = "storage_damaged"


class StorageRefused(StorageError):
    """S3 refuses this until somebody changes a setting or a right."""

    code = "storage_refused"
    retryable = False


class ObjectMissing(StorageError):
    """The bucket exists and holds nothing under the key."""

    code = "storage_object_missing"
    retryable = False


# Sources: the error codes of the S3 API reference; a HEAD reply has no body, so its code is the status.
_REFUSALS: Final[tuple[tuple[str, type[StorageError], str], ...]] = (
    ("NoSuchKey", ObjectMissing, "holds no such object"),
    (
        "BadDigest XAmzContentSHA256Mismatch IncompleteBody",
        StorageDamaged,
        "received other bytes than were sent",
    ),
    ("XAmzContentChecksumMismatch", StorageDamaged, "received other bytes than were sent"),
    ("SlowDown RequestTimeout ThrottlingException 408 429", StorageUnavailable, "asks for a slower pace"),
    ("NoSuchBucket 404", StorageRefused, "does not exist: create it, or correct GENQUEUE_S3_BUCKET"),
    ("BucketAlreadyExists", StorageRefused, "belongs to another owner: choose another GENQUEUE_S3_BUCKET"),
    ("PermanentRedirect 301", StorageRefused, "is in another region: correct GENQUEUE_S3_REGION"),
    ("AuthorizationHeaderMalformed", StorageRefused, "is in another region: correct GENQUEUE_S3_REGION"),
    ("RequestTimeTooSkewed", StorageRefused, "refuses this machine's clock: set it right"),
)


@contextmanager
def explained(bucket: str, place: str, body: FaithfulReader | None = None) -> Iterator[None]:
    """Turn boto3's errors into ours; from None, because boto3's errors quote request parameters.

    Where the `body` to send could not be read, boto3's error is none of the bucket's: raises `SpoolError`.
    """
    try:
        with _explained(bucket, place):
            yield
    except Exception:
        if body is not None and body.fault is not None:
            raise body.fault from None
        raise


@contextmanager
def _explained(bucket: str, place: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise _refusal(error, f"bucket {bucket!r} at {place}") from None
    except (S3ConnectionError, HTTPClientError, IncompleteReadError, ResponseStreamingError) as error:
        raise StorageUnavailable(f"S3 at {place} does not answer ({type(error).__name__})") from None
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError):
        advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        raise StorageRefused(f"no S3 credentials: {advice}") from None
    except RecursionError:  # botocore asks a bucket that answers a bare 301 for its region, without end
        raise StorageRefused(f"S3 at {place} redirects: correct GENQUEUE_S3_REGION") from None
    except NoRegionError:
        raise StorageRefused("no S3 region: set GENQUEUE_S3_REGION") from None
    except BotoCoreError as error:
        raise StorageRefused(
            f"the S3 settings are not usable ({type(error).__name__}): look at GENQUEUE_S3_BUCKET and "
            "GENQUEUE_S3_ENDPOINT_URL"
        ) from None


def _refusal(error: ClientError, where: str) -> StorageError:
    code = code_of(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    for codes, kind, advice in _REFUSALS:
        if code in codes.split():
            return kind(f"{where} {advice}")
    if status >= _SERVER_ERROR:
        return StorageUnavailable(f"{where} is broken for now ({code})")
    if status in (401, 403):
        advice = "check AWS_ACCESS_KEY_ID and its rights to put, get and list"
        return StorageRefused(f"{where} refuses these credentials ({code}): {advice}")
    return StorageRefused(f"{where} refuses the request ({code})")


def is_damage(code: str) -> bool:
    """Tell whether S3 says with `code` that the bytes are not those of the checksum."""
    return any(kind is StorageDamaged and code in codes.split() for codes, kind, _advice in _REFUSALS)


def may_pass(code: str) -> bool:
    """Tell whether what S3 says with `code` may be over at the next try."""
    return any(kind.retryable and code in codes.split() for codes, kind, _advice in _REFUSALS)


def code_of(error: ClientError) -> str:
    """Return S3's code for an error; of a HEAD, the status."""
    return error.response.get("Error", {}).get("Code", "unknown")
