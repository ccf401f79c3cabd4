"""Signed URLs lead to the host that boto3's own calls go to, whatever the region and the name of the bucket."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from worker.transport.digested import InMemory
from worker.transport.storage import Storage


@pytest.mark.parametrize(
    ("region", "bucket", "place"),
    [
        ("eu-central-1", "plain", "plain.s3.eu-central-1.amazonaws.com/k"),
        ("eu-central-1", "with.dots", "s3.eu-central-1.amazonaws.com/with.dots/k"),
        ("eu-south-1", "plain", "plain.s3.eu-south-1.amazonaws.com/k"),
        ("us-east-1", "plain", "plain.s3.amazonaws.com/k"),
        ("cn-north-1", "plain", "plain.s3.cn-north-1.amazonaws.com.cn/k"),
    ],
)
def test_a_url_that_is_signed_leads_to_the_buckets_own_region(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, region: str, bucket: str, place: str
) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    storage = Storage(
        bucket=bucket,
        endpoint_url=None,
        region=region,
        access_key="a",
        secret_key="b",
        connect_seconds=1,
        read_seconds=1,
        max_connections=1,
    )
    put = storage.signed_put("k", InMemory(b"a picture"), content_type="image/png", metadata={})
    for url in (put.url, storage.presign("k", 60)):
        parts = urlsplit(url)
        assert parts.netloc + parts.path == place
    storage.close()
