"""Where Banatie draws: a generation begins here, for the first time or again, and the clock does the rest."""

from decimal import Decimal

from ops.simulator.config import BanatieSettings
from ops.simulator.draws import between, uuid4_like
from ops.simulator.exchange import Exchange
from ops.simulator.gallery import DrawnPicture
from ops.simulator.marks import defect_in
from ops.simulator.pictures import Sketch, size_for
from ops.simulator.sale import Charge
from ops.simulator.wires.banatie.errors import refuse
from ops.simulator.wires.banatie.generations import BanatieGeneration
from ops.simulator.wires.banatie.submission import BanatieSubmission
from ops.simulator.world import World

_QUEUED_SHARE = 0.25  # of the latency: the rest is spent generating
_FAILURES = {
    "moderated": "Content blocked by the safety filter of the model",
    "rate_limited": "The model answered 429: quota exceeded",
    "failed": "The model returned no image data",
}


class Studio:
    """Starts generations; each run is a line of the bill for nothing, so that runs can be counted."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def _settings(self) -> BanatieSettings:
        return self._world.config.banatie

    def create(self, wanted: BanatieSubmission, key: str, generation_id: str, number: int) -> BanatieGeneration:
        """Return a generation that has not been run."""
        now = self._world.clock.now()
        return BanatieGeneration(
            id=generation_id,
            number=number,
            key=key,
            prompt=wanted.prompt,
            original=wanted.original,
            enhance=wanted.enhance,
            template=wanted.template,
            ratio=wanted.ratio,
            meta=dict(wanted.meta),
            alias=wanted.alias,
            flow=wanted.flow or uuid4_like(generation_id, "flow"),
            image=uuid4_like(generation_id, "image"),
            created=now,
            updated=now,
            started=now,
            ready=now,
            seconds=0,
            failure=None,
            skew=self._settings.clock_seconds,
        )

    def run(self, exchange: Exchange, generation: BanatieGeneration, marks: frozenset[str]) -> None:
        """Start drawing, for the first time or again; raises ``RefusalError`` with a 402 for who has to pay first."""
        world, account = self._world, exchange.require_account()
        submission = f"{generation.id}/{generation.runs}" if generation.runs else generation.id
        charge = Charge(submission, (generation.image,), Decimal(0), "USD")
        if account.terms.payment_required or not world.charge(exchange, account, charge):
            raise refuse("PAYMENT_REQUIRED")
        generation.seconds = between(*self._settings.latency, world.config.seed, submission, "latency")
        generation.updated = world.clock.now()
        generation.started = world.clock.after(generation.seconds * _QUEUED_SHARE)
        generation.ready = world.clock.after(generation.seconds)
        generation.failure = next((message for mark, message in _FAILURES.items() if mark in marks), None)
        size = size_for(generation.ratio, world.config.pixels)
        words = (generation.prompt, generation.template, generation.ratio)
        sketch = Sketch(world.config.seed, *words, generation.runs, *size, self._settings.image_format)
        picture = DrawnPicture(generation.image, "banatie", generation.key, submission, sketch, generation.updated)
        picture.defect = defect_in(marks)
        world.gallery.add(picture)
