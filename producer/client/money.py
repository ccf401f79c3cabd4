"""The part of a `Client` that explains money: the bill, the providers' own figures, and their prices."""

from producer.client.connection import Connected
from shared.db.payments import drift, offers, spending
from shared.db.read import verifying
from shared.db.read.pages import Row


class Money(Connected):
    """Spending, and the providers' own figures for it."""

    def bill(self, batch: str | None = None) -> list[Row]:
        """Return settled, reserved and held money by account, of one batch or of all, jobs that have left included.

        Raises `NoSuchBatchError` if there never was a batch of that name.
        """
        with self._connection() as connection:
            if batch is not None and not spending.is_billed(connection, batch):
                self._require(connection, batch)
            return spending.bill(connection, batch)

    def balance_spans(self) -> list[drift.BalanceSpan]:
        """Return the changes of each balance that a provider reports, with the spending in the ledger."""
        with self._connection() as connection:
            return drift.spans(connection)

    def figures(self) -> list[verifying.Figure]:
        """Return each figure of a provider, with the ledger's figure for the same span."""
        with self._connection() as connection:
            return verifying.figures(connection)

    def accept_drift(self, account: str) -> bool:
        """Start a new comparison of the account's balance at its newest reading; False if there is no reading."""
        with self._connection() as connection:
            return drift.accept(connection, account)

    def offer_readings(self) -> list[Row]:
        """Return for each account when its offers were last read, the number of models, and any fault."""
        with self._connection() as connection:
            return offers.readings(connection)

    def price_changes(self) -> list[Row]:
        """Return the prices that providers changed within a week, newest first."""
        with self._connection() as connection:
            return offers.changes(connection)
