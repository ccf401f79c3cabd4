"""A look at images whose provider says what a test wants."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from shared.db.engine import Engine
from shared.lifecycle import ImageState, Stage
from tests.support import rows
from tests.support.drain import run_stage
from worker.claiming import Parcel
from worker.providers.asking import gone
from worker.providers.contract import Refused
from worker.runtime import Runtime


def tell(runtime: Runtime, engine: Engine, answers: Any, *, alone: Any = None) -> list[Sequence[str]]:
    """Let everything be due and run one poll against a provider that answers `answers`, a map or a refusal.

    `alone` has refusals of single images, by id.
    """
    asked: list[Sequence[str]] = []
    account = runtime.accounts["bloom"]

    class Told(type(account.wire)):  # type: ignore[misc]
        async def poll(self, upstream_ids: Sequence[str]) -> Any:
            asked.append(upstream_ids)
            if isinstance(answers, Refused):
                return answers
            if len(upstream_ids) == 1 and upstream_ids[0] in (alone or {}):
                return alone[upstream_ids[0]]
            if len(upstream_ids) == 1:
                return {one: answers.get(one, gone(one, "Bloom")) for one in upstream_ids}
            return {one: answers[one] for one in upstream_ids if one in answers}

    runtime.accounts["bloom"] = replace(account, wire=Told(cast("Any", account.wire)._settings))
    rows.rows(engine, "UPDATE job SET due_at = now() WHERE state IN ('pending', 'processing')")
    claims = rows.claim(engine, "poll", count=100)
    run_stage(runtime, Parcel(Stage.POLL, "bloom", tuple(claims)))
    runtime.accounts["bloom"] = account
    return asked


def pending(engine: Engine) -> str:
    claim = rows.transferring(engine, ImageState.PENDING)
    rows.rows(engine, "UPDATE job SET state = 'pending' WHERE id = :id", id=claim.job_id)
    (row,) = rows.rows(engine, "SELECT upstream_id FROM image WHERE job_id = :id", id=claim.job_id)
    return str(row.upstream_id)
