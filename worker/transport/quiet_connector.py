"""Kept connections on which nobody spoke out of turn: an answer that comes twice is no answer to the next request."""

from typing import Any

import aiohttp

from worker.transport.interim_answers import BoundedConnector


class QuietConnector(BoundedConnector):
    """Closes a kept connection on which something came since its last answer.

    aiohttp would take it for the answer to the next request. A look names what it was asked about, so an answer that
    is repeated later still, after the next request has left, is seen to be another's.
    """

    async def connect(self, req: aiohttp.ClientRequest, *rest: Any, **options: Any) -> aiohttp.connector.Connection:
        """Return a connection, as aiohttp does."""
        for _ in range(self.limit + 1):
            connection = await super().connect(req, *rest, **options)
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()
        raise aiohttp.ServerDisconnectedError("the server speaks before it is asked")
