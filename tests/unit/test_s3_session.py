"""Sessions of boto3 read AWS's descriptions once, and keep the services that a bucket and its credentials need."""

from pathlib import Path

import pytest

from worker.transport import s3_session
from worker.transport.s3_session import open_session


@pytest.fixture(autouse=True)
def no_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))


def addresses(region: str) -> tuple[str, str]:
    session = open_session(access_key="a", secret_key="b", region=region)
    return session.client("s3").meta.endpoint_url, session.client("sts").meta.endpoint_url


@pytest.mark.parametrize(
    ("region", "s3", "sts"),
    [
        ("eu-central-1", "https://s3.eu-central-1.amazonaws.com", "https://sts.eu-central-1.amazonaws.com"),
        ("us-east-1", "https://s3.amazonaws.com", "https://sts.us-east-1.amazonaws.com"),
        ("cn-north-1", "https://s3.cn-north-1.amazonaws.com.cn", "https://sts.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_buckets_and_roles_are_reached_where_boto3_reaches_them(region: str, s3: str, sts: str) -> None:
    assert addresses(region) == (s3, sts)


def test_the_descriptions_are_read_once_and_only_what_is_called_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses("eu-central-1")
    endpoints, _ = s3_session._LOADER.load_data_with_path("endpoints")
    kept = {service for partition in endpoints["partitions"] for service in partition["services"]}
    assert {"s3", "sts"} <= kept <= s3_session._CALLED

    def unread(*_: object) -> None:
        raise AssertionError("it was read again")

    monkeypatch.setattr(s3_session._LOADER.file_loader, "load_file", unread)
    assert addresses("eu-central-1")[0]


def test_somebodys_own_descriptions_are_read_as_boto3_reads_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    session = open_session(access_key="a", secret_key="b", region="eu-central-1")
    loader = session._session.get_component("data_loader")
    assert loader is not s3_session._LOADER
    assert str(tmp_path) in loader.search_paths
