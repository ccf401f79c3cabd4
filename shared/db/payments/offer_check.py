"""Compares rows with the offers that workers read: faults are named before anything is paid."""

from collections.abc import Iterable, Iterator

from shared.catalog.offers import Offers
from shared.db.engine import Connection
from shared.db.jobs.dealing import Dealing, dealing
from shared.db.payments import offers
from shared.db.payments.offers import RecentOffers
from shared.prompt_rows.faults import Faults
from shared.prompt_rows.preparer import PreparedRow
from shared.requests import GenerationRequest, RequestFault


class OfferCheck:
    """Checks rows one by one. A row is at fault only if every account that may get it is known to refuse it.

    If an account's offers were not read within a day, nothing is refused: its provider decides.
    """

    def __init__(
        self, connection: Connection, recent: RecentOffers | None = None, dealt: Dealing | None = None
    ) -> None:
        self.faults = Faults()
        self._offered = recent.load(connection) if recent else offers.load(connection)
        # Most installations are offered nothing that is known beforehand: then nothing more is asked.
        self._dealing = (dealt or dealing(connection)) if self._offered else None
        self._known: dict[str, tuple[Offers, ...]] = {}

    def passing(self, rows: Iterable[PreparedRow]) -> Iterator[PreparedRow]:
        """Yield every row and record its faults."""
        for row in rows:
            for fault in self.faults_of(row):
                self.faults.add(row.line, *fault, row.custom_id)
            yield row

    def faults_of(self, row: PreparedRow) -> list[RequestFault]:
        """Return what every account that may get the row is known to refuse."""
        known = self._of(row.provider)
        if not known:
            return []
        request = GenerationRequest.model_validate_json(row.request)
        each = [offered.faults(request) for offered in known]
        return each[0] if all(each) else []

    def _of(self, provider: str) -> tuple[Offers, ...]:
        """Return the offers of the provider's accounts; nothing if those of one account are unknown."""
        if self._dealing is None:
            return ()
        if provider not in self._known:
            names = self._dealing.accounts(provider)
            found = tuple(self._offered[name] for name in names if name in self._offered)
            self._known[provider] = found if len(found) == len(names) else ()
        return self._known[provider]
