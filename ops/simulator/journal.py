"""The request log: what arrived, what was answered, and what was paid."""

from collections import Counter, deque
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One request. ``status`` is what was meant to be answered, ``fault`` what was done to it on the way.

    ``paid`` says that the request made a line of the bill; ``outcome`` is the fault's kind or the status;
    ``hint`` is the start of the prompt, or the ids that a poll asked for; ``path`` has no query, so no
    signature.
    """

    id: int
    time: float
    provider: str
    route: str
    method: str
    path: str
    status: int
    outcome: str
    fault: str | None
    paid: bool
    key: str | None
    submission_id: str | None
    body_sha256: str
    hint: str
    credential_on_result_url: bool


class Journal:
    """A bounded log with counters that are never cut."""

    def __init__(self, size: int) -> None:
        self._entries: deque[JournalEntry] = deque(maxlen=size)
        self._counts: Counter[tuple[str, str, str, str]] = Counter()
        self._paid_posts: Counter[str] = Counter()
        self._accepted: Counter[str] = Counter()
        self._credentials_on_result_urls = 0
        self._last_id = 0

    def next_id(self) -> int:
        """Return the number of a request that has just been read."""
        self._last_id += 1
        return self._last_id

    def add(self, entry: JournalEntry, *, paying_route: bool, whole: bool = True) -> None:
        """Record one request. ``whole`` is false if its body never arrived completely."""
        self._entries.append(entry)
        self._counts[entry.provider, entry.method, entry.route, entry.outcome] += 1
        self._paid_posts[entry.provider] += paying_route and whole
        self._accepted[entry.provider] += entry.paid
        self._credentials_on_result_urls += entry.credential_on_result_url

    def entries(self, filters: dict[str, str], limit: int) -> list[dict[str, Any]]:
        """Return the newest ``limit`` entries whose fields equal ``filters``, oldest first.

        Raises ``ValueError`` for a field that does not exist.
        """
        unknown = set(filters) - set(JournalEntry.__dataclass_fields__)
        if unknown:
            raise ValueError(f"requests have no field {min(unknown)}")
        wanted = {name: value.lower() for name, value in filters.items()}
        newest = (
            entry
            for entry in reversed(list(self._entries))
            if all(str(getattr(entry, name)).lower() == value for name, value in wanted.items())
        )
        return [asdict(entry) for entry in islice(newest, limit)][::-1]

    def counters(self) -> dict[str, Any]:
        """Return counts since the last reset.

        ``paid_posts``: POSTs to a paying route that were read to the end, whatever became of them.
        ``accepted``: those among them that made a line of the bill.
        """
        rows = [
            {"provider": provider, "method": method, "route": route, "outcome": outcome, "count": count}
            for (provider, method, route, outcome), count in sorted(self._counts.items())
        ]
        return {
            "requests": rows,
            "paid_posts": {name: count for name, count in self._paid_posts.items() if count},
            "accepted": {name: count for name, count in self._accepted.items() if count},
            "credentials_on_result_urls": self._credentials_on_result_urls,
        }

    def reset(self) -> None:
        """Forget all requests; their numbers go on."""
        self._entries.clear()
        self._counts.clear()
        self._paid_posts.clear()
        self._accepted.clear()
        self._credentials_on_result_urls = 0
