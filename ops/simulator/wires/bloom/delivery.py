"""Bloom's image links: the short one that redirects, and the signed storage that it leads to."""

from ops.simulator.exchange import Exchange
from ops.simulator.files import download
from ops.simulator.gallery import DrawnPicture
from ops.simulator.links import LinkState
from ops.simulator.replies import SimulatedReply
from ops.simulator.wires.bloom.images import Shelf
from ops.simulator.world import World

_EXPIRED = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>AccessDenied</Code><Message>{}</Message></Error>"""


class Delivery:
    """Delivers what is on the shelf."""

    def __init__(self, world: World, shelf: Shelf) -> None:
        self._world = world
        self._shelf = shelf

    def target(self, picture: DrawnPicture) -> str:
        """Return the path of the picture's storage, freshly signed."""
        links, settings = self._world.links, self._world.config.bloom
        skew, seconds = settings.clock_seconds, settings.link_seconds
        expires = links.at_once(skew) if picture.expires_at_once else links.expiry(seconds, skew)
        return links.sign(f"/bloom/storage/{picture.id}", expires)

    async def download(self, exchange: Exchange) -> SimulatedReply:
        """Deliver a picture to who has a signed path that lives."""
        state = self._world.links.check(exchange.path, exchange.query, self._world.config.bloom.clock_seconds)
        if state is LinkState.forged:
            return SimulatedReply(403, _EXPIRED.format("Signature does not match").encode(), "application/xml")
        if state is LinkState.expired or "expired" in exchange.marks:
            return SimulatedReply(403, _EXPIRED.format("Request has expired").encode(), "application/xml")
        picture = self.delivered(exchange)
        if picture is None:
            return SimulatedReply(404, _EXPIRED.format("The specified key does not exist").encode(), "application/xml")
        return await download(self._world, exchange, picture)

    def delivered(self, exchange: Exchange) -> DrawnPicture | None:
        """Return the picture that a link leads to, ``None`` while there is none."""
        image = self._shelf.get(exchange.path_params["id"].lower())
        if image is None or exchange.hides() or image.status_at(self._world.clock.now()) != "completed":
            return None
        return self._world.gallery.get(image.id)
