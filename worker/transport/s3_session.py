"""boto3 sessions that share one reading of AWS's descriptions, without what nobody here calls.

The descriptions are data: with them, botocore makes the methods of a client, builds requests and parses answers.
"""

import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import botocore.session
from boto3.session import Session  # noqa: TID251 - this is how S3 is reached
from botocore.loaders import Loader

_CALLED: Final = frozenset({"s3", "sts", "sso", "portal.sso", "oidc", "signin"})
"""The bucket, and what gives credentials to a profile or a role (botocore.credentials)."""


_OPERATIONS: Final = frozenset(
    {
        "AbortMultipartUpload",
        "CompleteMultipartUpload",
        "CreateBucket",
        "CreateMultipartUpload",
        "DeleteObject",
        "GetObject",
        "HeadBucket",
        "HeadObject",
        "ListObjectsV2",
        "PutObject",
        "UploadPart",
    }
)
"""What `Storage` does with a bucket. A client has no method for anything else."""


class _LeanLoader(Loader):
    """Reads each of botocore's descriptions once for the whole process, and keeps what is used.

    The endpoints of a thousand services take 7 MB, the whole of S3 another 5, and a second reading of everything took
    15.
    """

    def load_data_with_path(self, name: str) -> Any:
        found, path = super().load_data_with_path(name)
        if name == "endpoints":
            for partition in found["partitions"]:
                partition["services"] = {key: value for key, value in partition["services"].items() if key in _CALLED}
        elif name.startswith("s3/") and name.endswith("/service-2"):
            _thin(found)
        return found, path


def _thin(model: dict[str, Any]) -> None:
    """Take out of the description of S3 what `_OPERATIONS` do not need, and all prose."""
    operations = {name: operation for name, operation in model["operations"].items() if name in _OPERATIONS}
    shapes: dict[str, Any] = {}
    waiting = list(_named_shapes(operations))
    while waiting:
        name = waiting.pop()
        if name not in shapes:
            shapes[name] = model["shapes"][name]
            waiting.extend(_named_shapes(shapes[name]))
    model["operations"], model["shapes"] = _without_prose(operations), _without_prose(shapes)


def _named_shapes(part: Any) -> Iterator[str]:
    """Yield the names of the shapes that a part of a description refers to."""
    if isinstance(part, dict):
        if isinstance(named := part.get("shape"), str):
            yield named
        for inner in part.values():
            yield from _named_shapes(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _named_shapes(inner)


def _without_prose(part: Any) -> Any:
    """Return a part of a description without its documentation, which is a text wherever it stands."""
    if isinstance(part, dict):
        return {
            key: _without_prose(inner)
            for key, inner in part.items()
            if not (key == "documentation" and isinstance(inner, str))
        }
    return [_without_prose(inner) for inner in part] if isinstance(part, list) else part


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


def trusted(usual: ssl.SSLContext) -> ssl.SSLContext:
    """Return the certificates that boto3 trusts: those that a profile or its variables name, or the `usual` ones."""
    named = botocore.session.get_session().get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    if not named:
        return usual
    is_directory = Path(named).is_dir()
    return ssl.create_default_context(cafile=None if is_directory else named, capath=named if is_directory else None)
