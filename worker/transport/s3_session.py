"""boto3 sessions that share one reading of AWS's descriptions, without the services that nobody here calls."""

from typing import Any, Final

import botocore.session
from boto3.session import Session  # noqa: TID251 - this is how S3 is reached
from botocore.loaders import Loader

_CALLED: Final = frozenset({"s3", "sts", "sso", "portal.sso", "oidc", "signin"})
"""The bucket, and what gives credentials to a profile or a role (botocore.credentials)."""


class _LeanLoader(Loader):
    """Reads each of botocore's descriptions once for the whole process.

    The endpoints of a thousand services take 7 MB, and a second reading of everything took another 15.
    """

    def load_data_with_path(self, name: str) -> Any:
        found, path = super().load_data_with_path(name)
        if name == "endpoints":
            for partition in found["partitions"]:
                partition["services"] = {key: value for key, value in partition["services"].items() if key in _CALLED}
        return found, path


_LOADER: Final = _LeanLoader()


def open_session(*, access_key: str | None, secret_key: str | None, region: str) -> Session:
    """Return a session of its own: boto3's default one is not safe for creating clients in several threads."""
    core = botocore.session.get_session()
    path: str | None = core.get_config_variable("data_path")
    if not path:  # somebody's own descriptions are read as botocore reads them
        core.register_component("data_loader", _LOADER)
    return Session(
        aws_access_key_id=access_key, aws_secret_access_key=secret_key, region_name=region, botocore_session=core
    )
