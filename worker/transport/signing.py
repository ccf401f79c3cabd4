"""Signs URLs of one bucket with botocore's signer, without the rest of a boto3 call.

boto3 finds a bucket's address and region anew for each URL, by rules of 16,000 lines. They do not depend on the key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self
from urllib.parse import parse_qs, quote

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_SCOPE_PARTS: Final = 5  # key id, day, region, service, aws4_request (AWS, "Signature Version 4")
_SECONDS: Final = 600  # S3 lets a clock differ by 15 minutes


@dataclass(frozen=True, slots=True)
class Signing:
    """The address of a bucket, and for which region and service its URLs are signed."""

    address: str
    region: str
    service: str

    EXAMPLE: ClassVar[str] = "key"

    @classmethod
    def like(cls, signed: str) -> Self | None:
        """Return what boto3 used for a URL of the key `EXAMPLE`; None where it signed in another way."""
        address, _, query = signed.partition("?")
        given = parse_qs(query)
        scope = given.get("X-Amz-Credential", [""])[0].split("/")
        is_usual = given.get("X-Amz-Algorithm") == [_ALGORITHM] and len(scope) >= _SCOPE_PARTS
        if not is_usual or not address.endswith(cls.EXAMPLE):
            return None
        return cls(address.removesuffix(cls.EXAMPLE), scope[-3], scope[-2])

    def put_url(self, key: str, headers: Mapping[str, str], credentials: Any) -> str:
        """Return a URL that lets anybody PUT with exactly these headers for ten minutes."""
        request = AWSRequest(method="PUT", url=self.address + quote(key, safe="/~"), headers=dict(headers))
        frozen = credentials.get_frozen_credentials()
        S3SigV4QueryAuth(frozen, self.service, self.region, expires=_SECONDS).add_auth(request)
        return str(request.url)
