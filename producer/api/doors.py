"""What the API stands on: a client of the queue, and whatever signs links to the bucket."""

from collections.abc import Callable
from dataclasses import dataclass

from producer.client import Client


class LinkError(Exception):
    """No link to an image can be signed; the message says why, without secrets."""


@dataclass(frozen=True, slots=True)
class ApiDoors:
    """What `create_app` needs. The API closes none of it.

    `link` signs a URL that reads an object for a number of seconds; raises `LinkError`. `is_own_host` tells
    whether a `Host` header is one of ours. `open_to_all`: a trial on this machine, where no token is needed.
    """

    client: Client
    link: Callable[[str, int], str]
    is_own_host: Callable[[str], bool]
    open_to_all: bool = False
