"""Our signed URLs are those that boto3 makes, for every way to reach a bucket."""

from typing import Any
from urllib.parse import parse_qs

import boto3.session
import pytest
from botocore.config import Config

from worker.transport.signing import Signing

KEY = "images/0198c0de-aaaa/0-0a.png"
BUCKETS: dict[str, dict[str, Any]] = {
    "AWS": {"region": "eu-central-1"},
    "AWS, the first region": {"region": "us-east-1"},
    "AWS in China": {"region": "cn-north-1"},
    "AWS, a name with dots": {"region": "eu-central-1", "bucket": "pictures.example.com"},
    "an access point": {"region": "eu-west-1", "bucket": "arn:aws:s3:eu-west-1:123456789012:accesspoint/pictures"},
    "of a role": {"region": "eu-central-1", "token": "a token of a role/+="},
    "an own server": {"region": "us-east-1", "endpoint": "https://s3.example.com:9000"},
    "an own server below a path": {"region": "auto", "endpoint": "http://10.0.0.1/store"},
    "an own server, IPv6": {"region": "us-east-1", "endpoint": "http://[::1]:9000"},
}


@pytest.mark.parametrize("name", BUCKETS)
def test_a_url_is_signed_as_boto3_signs_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = BUCKETS[name]
    bucket, endpoint = told.get("bucket", "pictures"), told.get("endpoint")
    session = boto3.session.Session("an id", "a secret", told.get("token"), region_name=told["region"])
    config = Config(signature_version="s3v4", s3={"addressing_style": "path" if endpoint else "auto"})
    client = session.client("s3", endpoint_url=endpoint, config=config)
    headers = {
        "Content-Type": "image/png",
        "Content-Disposition": "inline",
        "x-amz-checksum-sha256": "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=",
        "x-amz-meta-genqueue-job": "0198c0de-aaaa",
    }
    stated = {
        "ContentType": headers["Content-Type"],
        "ContentDisposition": headers["Content-Disposition"],
        "ChecksumSHA256": headers["x-amz-checksum-sha256"],
        "Metadata": {"genqueue-job": headers["x-amz-meta-genqueue-job"]},
    }

    def theirs(key: str, **more: Any) -> str:
        return client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": key, **more}, ExpiresIn=600)

    signing = Signing.like(theirs(Signing.EXAMPLE))
    assert signing is not None
    for _second in range(3):  # a second may end between the two
        wanted, made = theirs(KEY, **stated), signing.put_url(KEY, headers, session.get_credentials())
        if "".join(parse_qs(wanted)["X-Amz-Date"]) == "".join(parse_qs(made)["X-Amz-Date"]):
            break
    assert made.partition("?")[0] == wanted.partition("?")[0]
    assert parse_qs(made.partition("?")[2]) == parse_qs(wanted.partition("?")[2])


@pytest.mark.parametrize(
    "url",
    [
        "https://b.example/key?AWSAccessKeyId=a&Signature=b&Expires=1",
        "https://b.example/key?X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256&X-Amz-Credential=a/1/s3/aws4_request",
        "https://b.example/other?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a/1/r/s3/aws4_request",
    ],
)
def test_another_signature_is_not_imitated(url: str) -> None:
    assert Signing.like(url) is None
