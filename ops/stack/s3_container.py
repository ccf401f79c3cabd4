"""The S3 server of a trial in containers: `python -m ops.stack.s3_container` serves, `... check` is its health check.

It needs AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and S3_NAME, by which the other containers reach it on port 9000. Its
objects lie in /objects.
"""

import os
import sys
from pathlib import Path
from typing import Final, NoReturn

from ops.stack.config import SERVICES, Config
from ops.stack.objects import Objects

_DATA: Final = Path("/objects")
_PORT: Final = 9000
_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - a container's own network is all that there is


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM, or check that the bucket answers a signed request, and make it if it is missing."""
    objects = Objects(_DATA, _config())
    return _check(objects) if arguments == ["check"] else _serve(objects)


def _check(objects: Objects) -> int:
    problem = objects.problem()
    if problem:
        sys.stderr.write(f"{problem}\n")
    return 1 if problem else 0


def _serve(objects: Objects) -> NoReturn:
    objects.prepare()
    command = objects.command()
    reached = {"S3_LISTEN": _EVERYWHERE, "S3_NAME": os.environ["S3_NAME"]}
    os.chdir(command.directory)
    os.execve(command.argv[0], list(command.argv), {**command.environment, **reached})  # noqa: S606 - our own module


def _config() -> Config:
    return Config(
        ports=dict.fromkeys(SERVICES, _PORT),
        s3_access_key=os.environ["AWS_ACCESS_KEY_ID"],
        s3_secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
