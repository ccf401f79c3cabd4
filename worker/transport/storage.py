"""The bucket: stores results under keys that contain their hash, with that hash verified by S3 itself.

Every method blocks and is called from a thread. boto3 limits each connection and each silence, not a whole
call, so the caller holds the wall-clock limit.
"""

import base64
import binascii
import hashlib
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.utils import get_environ_proxies

from worker.transport.digested import Stored
from worker.transport.faithful_reader import FaithfulReader
from worker.transport.object_stream import ObjectStream
from worker.transport.s3_session import open_session, trusted
from worker.transport.signing import Signing
from worker.transport.storage_errors import StorageDamaged, StorageRefused, StorageUnavailable, code_of, explained

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

_ATTEMPTS: Final = 3
_BLOCK_BYTES: Final = 256 * 1024
_LONGEST_LINK_SECONDS: Final = 7 * 24 * 3600
_DEFAULT_REGION: Final = "us-east-1"
_KEY_PART: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_EXTENSION: Final = re.compile(r"[a-z0-9]{1,8}")


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """S3's description of one object; `sha256` is hexadecimal, None if S3 keeps none; `length` is in bytes."""

    length: int
    content_type: str
    sha256: str | None
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SignedPut:
    """A PUT that anybody may send for some minutes, with exactly these headers beside `Content-Length`."""

    url: str = field(repr=False)
    headers: Mapping[str, str]


class Storage:
    """One bucket.

    `endpoint_url` None means AWS; with an endpoint, path style is used. `access_key` and `secret_key` None
    means boto3's own chain (environment, profile, instance role). `connect_seconds` and `read_seconds` limit
    a connection attempt and a silence; each call is tried three times in all; `max_connections` is the size
    of the connection pool.
    """

    def __init__(  # noqa: PLR0913 - each is a setting of its own
        self,
        *,
        bucket: str,
        endpoint_url: str | None,
        region: str,
        access_key: str | None,
        secret_key: str | None,
        connect_seconds: float,
        read_seconds: float,
        max_connections: int,
    ) -> None:
        self._bucket = bucket
        parts = urlsplit(endpoint_url) if endpoint_url else None
        # Without any credentials that the URL may hold.
        self._place = parts.netloc.rpartition("@")[2] if parts else "AWS"
        config = Config(
            signature_version="s3v4",
            # "auto" signs URLs for the host of all regions: it redirects a young bucket, and knows no newer region.
            s3={"addressing_style": "path" if endpoint_url else "virtual"},
            # The checksum that matters is passed explicitly; boto3's default would hash each body again.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
            connect_timeout=connect_seconds,
            read_timeout=read_seconds,
            max_pool_connections=max_connections,
            tcp_keepalive=True,
        )
        session = open_session(access_key=access_key, secret_key=secret_key, region=region)
        try:
            with self._explained():
                self._client: S3Client = session.client("s3", endpoint_url=endpoint_url or None, config=config)
                self._credentials = session.get_credentials()
        except ValueError:
            raise StorageRefused("GENQUEUE_S3_ENDPOINT_URL is not a URL such as https://s3.example.com") from None

    def put(
        self, key: str, spool: Stored, *, content_type: str, metadata: Mapping[str, str], attached: bool = False
    ) -> None:
        """Store the spool's bytes under `key`.

        S3 itself compares the bytes with the spool's SHA-256, and must state that one, at once or when it is asked: any
        server between may answer that all is well. With `attached`, a browser that opens the object's URL downloads it
        and never shows it. Repeating is harmless. Raises `StorageDamaged` if the hashes differ, `StorageUnavailable` or
        `StorageRefused`, and `SpoolError` for unreadable bytes.
        """
        stated = self.put_stating(key, spool, content_type=content_type, metadata=metadata, attached=attached)
        stated = stated or self._stated_later(key)
        if stated is None:
            raise StorageUnavailable(f"{self.name} took an object, and does not state that it has it")
        if stated != spool.sha256_base64:
            raise StorageDamaged(f"{self.name} states that it stored other bytes")

    def _stated_later(self, key: str) -> str | None:
        found = self.head(key)
        return base64.b64encode(bytes.fromhex(found.sha256)).decode("ascii") if found and found.sha256 else None

    def put_stating(
        self, key: str, spool: Stored, *, content_type: str, metadata: Mapping[str, str], attached: bool = False
    ) -> str | None:
        """Store like `put`, and return in base64 the SHA-256 that S3 states, whatever it is; None if it states none."""
        body = FaithfulReader(spool)
        with self._explained(body):
            stored = self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=body.file,
                ContentLength=spool.length,
                ContentType=content_type,
                ChecksumSHA256=spool.sha256_base64,
                Metadata=dict(metadata),
                ContentDisposition="attachment" if attached else "inline",
            )
        return stored.get("ChecksumSHA256")

    def signed_put(
        self, key: str, spool: Stored, *, content_type: str, metadata: Mapping[str, str], attached: bool = False
    ) -> SignedPut:
        """Return what `put` would send, signed; the checksum is part of it. Raises `StorageRefused`.

        It asks nobody where `signs_at_once` is true. Only a bucket that `has_short_cut` may be asked.
        """
        headers = {
            "Content-Type": content_type,
            "Content-Disposition": "attachment" if attached else "inline",
            "x-amz-checksum-sha256": spool.sha256_base64,
            **{f"x-amz-meta-{name}": value for name, value in metadata.items()},
        }
        if self._signing is None:
            raise StorageRefused(f"{self.name} takes no URLs that are signed in the usual way")
        with self._explained():
            return SignedPut(self._signing.put_url(key, headers, self._credentials), headers)

    @cached_property
    def _signing(self) -> Signing | None:
        params = {"Bucket": self._bucket, "Key": Signing.EXAMPLE}
        with self._explained():
            return Signing.like(self._client.generate_presigned_url("put_object", Params=params))

    @property
    def signs_at_once(self) -> bool:
        """Whether the credentials are at hand: those of a role run out, and new ones come over the network."""
        refresh_needed = getattr(self._credentials, "refresh_needed", None)
        return refresh_needed is None or not refresh_needed()

    @property
    def has_short_cut(self) -> bool:
        """Whether others may send a PUT past boto3: not where it goes through a proxy, or signs in another way."""
        return self._signing is not None and not get_environ_proxies(self._client.meta.endpoint_url)

    def certificates(self, usual: ssl.SSLContext) -> ssl.SSLContext:
        """Return what boto3 trusts on the way to the bucket; `usual` where it is told of nothing else, or needs none.

        Raises `OSError` for a file that is not there.
        """
        return trusted(usual) if self._client.meta.endpoint_url.startswith("https:") else usual

    @property
    def name(self) -> str:
        """The bucket and its server, as messages name them."""
        return f"bucket {self._bucket!r} at {self._place}"

    def begin_parts(self, key: str, *, content_type: str, metadata: Mapping[str, str]) -> str:
        """Start a multipart object and return its upload's id; raises as `put` does."""
        with self._explained():
            begun = self._client.create_multipart_upload(
                Bucket=self._bucket,
                Key=key,
                ContentType=content_type,
                Metadata=dict(metadata),
                ChecksumAlgorithm="SHA256",
            )
        return self._stated(begun, "UploadId")

    def put_part(self, key: str, upload: str, number: int, body: bytes) -> str:
        """Store one part, at least 5 MiB unless it is the last, and return its name; raises as `put` does.

        S3 itself compares it with its SHA-256.
        """
        sha256 = base64.b64encode(hashlib.sha256(body).digest()).decode("ascii")
        with self._explained():
            stored = self._client.upload_part(
                Bucket=self._bucket, Key=key, UploadId=upload, PartNumber=number, Body=body, ChecksumSHA256=sha256
            )
        return f"{self._stated(stored, 'ETag')} {sha256}"

    def end_parts(self, key: str, upload: str, parts: Sequence[str]) -> None:
        """Make one object of `parts`, which `put_part` returned, numbered from 1; raises as `put` does."""
        named = (part.split(" ") for part in parts)
        listed: list[CompletedPartTypeDef] = [
            {"PartNumber": number, "ETag": tag, "ChecksumSHA256": sha256}
            for number, (tag, sha256) in enumerate(named, 1)
        ]
        with self._explained():
            ended = self._client.complete_multipart_upload(
                Bucket=self._bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": listed}
            )
        self._stated(ended, "ETag")

    def _stated(self, answer: Mapping[str, Any], name: str) -> str:
        """Return what every store states; any server between may answer that all is well."""
        if not (value := answer.get(name)):
            raise StorageUnavailable(f"{self.name} took a part of an object, and does not state {name}")
        return str(value)

    def drop_parts(self, key: str, upload: str) -> None:
        """Abort an upload; raises as `put` does."""
        with self._explained():
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload)

    def open(self, key: str) -> ObjectStream:
        """Return the object as a stream that the caller closes; raises as `get_to` does, also while it is read."""
        return ObjectStream(partial(self._body, key), self._explained)

    def _body(self, key: str) -> "StreamingBody":
        return self._client.get_object(Bucket=self._bucket, Key=key)["Body"]

    def delete(self, key: str) -> None:
        """Remove the object if it exists. Raises `StorageUnavailable` or `StorageRefused`."""
        with self._explained():
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def head(self, key: str) -> ObjectFacts | None:
        """Return what S3 knows of the object, None if the bucket holds none under `key`.

        A missing bucket or a missing right to list is an error, never None, because a caller may take None as proof
        that nothing was stored. Raises `StorageUnavailable` or `StorageRefused`.
        """
        with self._explained():
            try:
                found = self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
            except ClientError as error:
                if code_of(error) not in ("404", "NoSuchKey"):
                    raise
                # HEAD has no body, so a missing bucket answers the same bare 404.
                self._client.head_bucket(Bucket=self._bucket)
                return None
        return ObjectFacts(
            # What is no bucket may answer too, with less.
            length=found.get("ContentLength", 0),
            content_type=found.get("ContentType", ""),
            sha256=_hexadecimal(found.get("ChecksumSHA256")),
            metadata=found.get("Metadata", {}),
        )

    def get_to(self, key: str, file: BinaryIO) -> str:
        """Copy the object into `file` and return the SHA-256 of what was copied, in hexadecimal.

        Raises `ObjectMissing`, `StorageUnavailable` (also when the body ends early) or `StorageRefused`;
        after an error `file` may hold a part.
        """
        digest = hashlib.sha256()
        with self._explained():
            body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"]
            try:
                for block in body.iter_chunks(_BLOCK_BYTES):
                    digest.update(block)
                    file.write(block)
            finally:
                body.close()
        return digest.hexdigest()

    def keys(self, prefix: str) -> Iterator[tuple[str, datetime]]:
        """Yield each key below `prefix` with the time of its writing; raises as `head`."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        with self._explained():
            for page in pages:
                yield from ((found["Key"], found["LastModified"]) for found in page.get("Contents", ()))

    def presign(self, key: str, seconds: int) -> str:
        """Return a URL that lets anybody read the object for `seconds`, up to S3's limit of seven days."""
        if not 1 <= seconds <= _LONGEST_LINK_SECONDS:
            raise ValueError(f"a link may last 1 to {_LONGEST_LINK_SECONDS} seconds, not {seconds}")
        with self._explained():
            return self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=seconds
            )

    def check(self) -> None:
        """Return only if the bucket answers; raises `StorageUnavailable` or `StorageRefused`."""
        with self._explained():
            self._client.head_bucket(Bucket=self._bucket)

    def create(self, region: str) -> None:
        """Make the bucket in `region`, unless it is there and ours already.

        Raises `StorageUnavailable` or `StorageRefused`, also where another owner has the name.
        """
        where: dict[str, Any] = {}
        if region != _DEFAULT_REGION:  # which S3 refuses to be told
            where = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        with self._explained():
            try:
                self._client.create_bucket(Bucket=self._bucket, **where)
            except ClientError as error:
                if code_of(error) != "BucketAlreadyOwnedByYou":
                    raise

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _explained(self, body: FaithfulReader | None = None) -> AbstractContextManager[None]:
        """Turn boto3's errors into ours; where `body` could not be read, into that."""
        return explained(self._bucket, self._place, body)


def key_for(job_id: str, index: int, sha256: str, extension: str, *, verified: bool = True) -> str:
    """Return the key of one image, `images/<job_id>/<index>-<sha256>.<extension>`.

    An unverified image lies under `unverified/` instead. The same bytes always get the same key, so storing twice
    changes nothing. Raises `ValueError` for a part that does not belong in a key.
    """
    if not _KEY_PART.fullmatch(job_id):
        raise ValueError("job_id: letters, digits, - and _ only, up to 64")
    if index < 0:
        raise ValueError(f"index: {index} is negative")
    if not _SHA256.fullmatch(sha256):
        raise ValueError("sha256: 64 lower-case hexadecimal digits are needed")
    if not _EXTENSION.fullmatch(extension):
        raise ValueError("extension: up to 8 lower-case letters and digits, without a dot")
    return f"{'images' if verified else 'unverified'}/{job_id}/{index}-{sha256}.{extension}"


def _hexadecimal(checksum: str | None) -> str | None:
    try:
        # A multipart object's checksum has a suffix such as -2: it is no hash of the bytes.
        return base64.b64decode(checksum, validate=True).hex() if checksum else None
    except binascii.Error:
        return None
