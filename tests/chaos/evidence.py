"""What the world knows of a run, gathered once: the simulator's bill, log and pictures, the bucket, and our rows."""

import hashlib
import json
import urllib.request
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from io import BytesIO
from typing import Any, Final
from uuid import UUID

from tests.chaos.ground import ChaosSite
from tests.support.canned_wire import wire
from worker.providers.reading import UnreadableError

_THREADS: Final = 4
_NAMES: Final = ("account", "unit")
_AMOUNTS: Final = ("submissions", "settled", "held", "reserved", "held_unpriced")
_JOBS: Final = """
SELECT job.id, custom_id, account, state, error_code, claimed_by, images, request ->> 'prompt' AS prompt,
  batch.on_unknown = 'resend' AS may_be_resent
FROM job JOIN batch ON batch.id = job.batch_id WHERE batch.name = ANY(%s) ORDER BY job.id
"""
_STORED: Final = """
SELECT job.custom_id, image.index, image.key, encode(image.sha256, 'hex') AS sha256, image.bytes
FROM image JOIN job ON job.id = image.job_id JOIN batch ON batch.id = job.batch_id
WHERE batch.name = ANY(%s) AND image.state = 'stored'
"""
_SUBMISSIONS: Final = """
SELECT s.id, job.custom_id, s.outcome, s.error_code
FROM submission s JOIN job ON job.id = s.job_id JOIN batch ON batch.id = job.batch_id WHERE batch.name = ANY(%s)
ORDER BY s.opened_at
"""
_OWNED: Final = """
SELECT key FROM image WHERE key IS NOT NULL UNION SELECT 'submissions/' || id || '/reply' FROM submission
UNION SELECT 'submissions/preview-' || encode(sha256(convert_to(account || chr(10) || upstream_id, 'UTF8')), 'hex')
  || '.webp' FROM candidate
UNION SELECT 'submissions/' || id || '/answer' FROM submission WHERE outcome <> 'not_sent'
UNION SELECT key FROM doomed_object
UNION SELECT note FROM job_event WHERE code IN ('bought_again', 'result_unverified')
"""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as its row has it."""

    id: UUID
    custom_id: str
    account: str
    state: str
    error_code: str | None
    claimed_by: str | None
    images: int
    prompt: str
    may_be_resent: bool
    """Whether its batch has lost calls sent again that provably bought nothing."""


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A picture that a row says is in the bucket."""

    custom_id: str
    index: int
    key: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Charge:
    """A line of the simulator's bill."""

    custom_id: str
    provider: str
    amount: Decimal
    sale: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that a verdict is judged by; what the simulator knows goes by the custom_id in each prompt."""

    jobs: tuple[Job, ...]
    stored: tuple[StoredRow, ...]
    submissions: Mapping[UUID, tuple[str, str | None, str | None]]
    """Whose job it is, its outcome and code, by id."""
    charges: Mapping[str, tuple[Charge, ...]]
    posts: Mapping[str, tuple[Mapping[str, Any], ...]]
    """The paid requests that arrived whole, in their order."""
    pictures: Mapping[str, Mapping[int, str]]
    """SHA-256 of what the simulator serves, by the picture's index; empty for one that it does not show."""
    objects: Mapping[str, tuple[str, int]]
    """SHA-256 and length of every object in the bucket, by key."""
    whole: frozenset[str]
    """Keys of kept answers from which images can be read."""
    owned: frozenset[str]
    """Every key that some row of ours may own, of this batch or another."""
    money: tuple[Mapping[str, Any], ...]
    """The ledger's sums by account."""
    cancelled: Collection[UUID] = ()
    """Jobs whose cancelling was asked for."""


def gather(site: ChaosSite, *batches: str, objects: bool = True, cancelled: Collection[UUID] = ()) -> Evidence:
    """Ask everybody about `batches`, of whose jobs a person `cancelled` some.

    Without `objects`, neither bucket nor pictures, which takes long and does not change any more.
    """
    names = list(batches)
    rows = [Job(*row) for row in site.sql(_JOBS, names)]
    ours = {row.custom_id for row in rows}
    charges = _charges(site, ours)
    stored = _objects(site) if objects else {}
    return Evidence(
        jobs=tuple(rows),
        stored=tuple(StoredRow(*row) for row in site.sql(_STORED, names)),
        submissions={row[0]: row[1:] for row in site.sql(_SUBMISSIONS, names)},
        charges=charges,
        posts=_posts(site, ours),
        pictures=_pictures(site, charges) if objects else {},
        objects=stored,
        whole=frozenset(key for key in stored if key.endswith("/reply") and _is_whole(site, key)),
        owned=frozenset(row[0] for row in site.sql(_OWNED)),
        money=tuple(_money(site, names)),
        cancelled=cancelled,
    )


def _money(site: ChaosSite, batches: Iterable[str]) -> Iterable[dict[str, Any]]:
    """Add up the bills of the batches, account by account."""
    totals: dict[str, dict[str, Any]] = {}
    for row in (row for batch in batches for row in site.client.bill(batch)):
        total = totals.setdefault(row["account"], dict.fromkeys(_AMOUNTS, 0) | {name: row[name] for name in _NAMES})
        for amount in _AMOUNTS:
            total[amount] += row[amount]
    return totals.values()


def _entries(site: ChaosSite, ours: set[str]) -> Iterable[tuple[str, dict[str, Any]]]:
    for entry in site.simulator.requests(10**9, route="submit", method="POST"):
        custom_id = entry["hint"].partition(" ")[0]
        if custom_id in ours:
            yield custom_id, entry


def _posts(site: ChaosSite, ours: set[str]) -> dict[str, tuple[Mapping[str, Any], ...]]:
    found = defaultdict(list)
    for custom_id, entry in _entries(site, ours):
        found[custom_id].append(entry)
    return {custom_id: tuple(sorted(entries, key=lambda entry: entry["id"])) for custom_id, entries in found.items()}


def _charges(site: ChaosSite, ours: set[str]) -> dict[str, tuple[Charge, ...]]:
    by_request = {entry["id"]: custom_id for custom_id, entry in _entries(site, ours)}
    found = defaultdict(list)
    for line in site.simulator.bill()["lines"]:
        if custom_id := by_request.get(line["request_id"]):
            found[custom_id].append(Charge(custom_id, line["provider"], Decimal(line["amount"]), line["submission_id"]))
    return {custom_id: tuple(lines) for custom_id, lines in found.items()}


def _pictures(site: ChaosSite, charges: Mapping[str, tuple[Charge, ...]]) -> dict[str, dict[int, str]]:
    """Ask the simulator what it sold by each charge, and for the hash of what it serves."""
    of_sale = {charge.sale: charge.custom_id for lines in charges.values() for charge in lines}
    sold = [picture for picture in site.simulator.world.gallery.all() if picture.submission_id in of_sale]

    def served(picture: Any) -> str:
        with urllib.request.urlopen(f"{site.simulator.url}/_sim/images/{picture.id}", timeout=20) as reply:  # noqa: S310 - our own URL
            return str(json.load(reply)["sha256"])

    found: dict[str, dict[int, str]] = defaultdict(dict)
    with ThreadPoolExecutor(_THREADS) as pool:
        for picture, sha256 in zip(sold, pool.map(served, sold), strict=True):
            found[of_sale[picture.submission_id]][picture.sketch.index] = sha256
    return dict(found)


def _is_whole(site: ChaosSite, key: str) -> bool:
    content = BytesIO()
    site.storage.get_to(key, content)
    content.seek(0)
    try:
        return bool(wire("openrouter", None).read_reply(content).images)
    except UnreadableError:
        return False


def _objects(site: ChaosSite) -> dict[str, tuple[str, int]]:
    client, bucket = site.storage._client, site.stack.endpoints.s3_bucket
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [item["Key"] for page in pages for item in page.get("Contents", ())]

    def facts(key: str) -> tuple[str, int]:
        content = BytesIO()
        site.storage.get_to(key, content)
        return hashlib.sha256(content.getvalue()).hexdigest(), len(content.getvalue())

    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(zip(keys, pool.map(facts, keys), strict=True))
