"""A queue's state for tests of what is said about it: a quiet queue, from which a test changes one thing."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from shared.db.purpose import Purpose
from shared.db.read.status import QueueStatus, StageLine, WorkerLine
from shared.lifecycle import JobState, Stage
from shared.wait_facts import AccountState, Wait, WaitingJob, WaitReason

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
SOON, AGO = NOW + timedelta(seconds=30), NOW - timedelta(seconds=30)
JOB = WaitingJob(
    id=UUID(int=1),
    batch="spring",
    custom_id="tram",
    account="bloom",
    provider="bloom",
    state=JobState.QUEUED,
    on_hold=False,
    due_at=AGO,
    claimed_by=None,
    begun=False,
    error_code=None,
    error=None,
    created_at=AGO,
)
ACCOUNT = AccountState(
    name="bloom",
    provider="bloom",
    unit="credit",
    concurrency=8,
    slow_start=False,
    paying=0,
    seen_at=NOW,
    served=True,
    paused_at=None,
    paused_code=None,
    paused_reason=None,
    action_url=None,
    probe_at=None,
    not_before=None,
    balance=None,
    daily_cap=None,
    spent_today=Decimal(0),
)
LINE = StageLine(
    account="bloom",
    stage=Stage.SUBMIT,
    looked_at=1,
    due=1,
    oldest_due_seconds=0.4,
    stalled_seconds=0.4,
    first=JOB,
    wait=Wait(WaitReason.LINE, "in line at account bloom", at=NOW),
)
QUIET = QueueStatus(
    at=NOW,
    purpose=Purpose.REAL,
    jobs={"bloom": {"queued": 1, "succeeded": 2}},
    lines=(LINE,),
    held=(),
    held_since=None,
    accounts=(ACCOUNT,),
    workers=(WorkerLine("w1", 16, 0.3, 0.0),),
    troubles=(),
    drifts=(),
)
