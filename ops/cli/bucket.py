"""`genqueue bucket create`: the bucket of the settings, and the least rights that workers need in it."""

import json
from typing import Annotated, Any, Final, Literal

import typer

from ops.cli import download
from producer.cli.session import ExitCode, errors, fail, told
from shared.settings import load
from worker.transport.storage_errors import StorageError

_PREFIXES: Final = ("images", "submissions", "unverified")
_ACTS: Final = ("s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload")


def bucket(
    _act: Annotated[Literal["create"], typer.Argument(metavar="create", help="what to do")],
) -> None:
    """Make the bucket of the settings where it is missing, and print the least policy.

    Give that policy to the workers' user, not the credentials that made the bucket.
    genqueue download needs s3:GetObject alone.

    Example: genqueue bucket create
    """
    with told():
        settings = load()
    try:
        download.bucket().create(settings.s3_region)
    except StorageError as error:
        fail(str(error), ExitCode.BROKEN)
    errors().print(f"bucket {settings.s3_bucket} is there; the least policy of a worker's user:")
    typer.echo(json.dumps(least_policy(settings.s3_bucket), indent=2))


def least_policy(name: str) -> dict[str, Any]:
    """Return the policy of a worker's user; without the right to list, a missing object looks like a refusal."""
    objects = [f"arn:aws:s3:::{name}/{prefix}/*" for prefix in _PREFIXES]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": list(_ACTS), "Resource": objects},
            {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [f"arn:aws:s3:::{name}"]},
        ],
    }
