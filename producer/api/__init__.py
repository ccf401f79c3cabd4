"""The HTTP API: jobs, batches and results for programs in any language. A request can buy only by adding a row."""

from producer.api.app import create_app
from producer.api.doors import ApiDoors, LinkError

__all__ = ["ApiDoors", "LinkError", "create_app"]
