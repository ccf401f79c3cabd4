"""The acts of the pages: how each is proposed, and the right that it needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from ops.dashboard import choosing
from ops.dashboard.proposals import Proposal, Wish, WrongFormError, command, counted
from ops.dashboard.sessions import Right
from producer import Client
from producer.client.bulk import terms_of_resolve
from producer.client.purchases import of_resolve, of_retry
from producer.client.steering import PRIORITY_MAX, PRIORITY_MIN
from producer.money import amount_in
from shared.db.jobs import bulk
from shared.db.jobs.retry import BUY
from shared.policies import OnUnknown

_PRIORITY_CHARS: Final = 6
_MAY_NOT_BUY: Final = "To buy them needs `jobs:write` or `money:spend`."


def _resolve(client: Client, wish: Wish) -> Proposal:
    resend = wish.need("how") == "resend"
    try:
        wanted = client.plan_resolve(resend=resend, charged=wish.charged, job=wish.job, **wish.jobs)
    except ValueError as error:
        raise WrongFormError(str(error)) from None
    jobs = len(wanted.plan.targets)

    def do() -> str:
        done = client.carry_out_resolve(wanted)
        return counted(done.jobs, done.moved_on)

    says = ["A lost call may have been bought. Look at the provider's own history first."]
    says.append(
        "The lost call's money stays held." if wish.charged is None else f"The ledger will say {wish.charged:f} each."
    )
    return Proposal(
        title=f"{'Send again' if resend else 'Give up'} {jobs:,} held job{'s' * (jobs != 1)}",
        button="Send again" if resend else "Give up",
        command=command("resolve", wish, *terms_of_resolve(resend=resend, charged=wish.charged).split()),
        do=do,
        says=says,
        targets=wanted.plan.targets,
        act=wanted.plan.act,
        at=wanted.plan.at,
        worst=wanted.second_charge if resend else None,
        purchases=of_resolve(wanted),
        may_cost=resend,
        asks=("charged",),
        nothing="" if jobs else "No held job matches any more.",
    )


def _retry(client: Client, wish: Wish) -> Proposal:
    buys_again = wish.text("how") == "buy-again"
    plan = client.plan_retry(job=wish.job, **wish.jobs)
    unbought = len(plan.buy)
    if not wish.may_buy:
        plan = plan.only({target.job_id for target in plan.targets if target.act != BUY})
    targets = plan.of(buy_again=buys_again)
    purchases = of_retry(targets)

    def do() -> str:
        done = client.carry_out_retry(plan, buy_again=buys_again)
        return counted(done.jobs, done.moved_on)

    left = len(plan.targets) - len(targets)
    says = ["What is bought is collected again, free."]
    says += ["What was never bought is bought for the first time."] if wish.may_buy else []
    says += [f"{left:,} were bought and cannot be collected any more: they are left alone."] if left else []
    says += (
        [f"{unbought:,} were never bought: they are left alone. {_MAY_NOT_BUY}"]
        if unbought and not wish.may_buy
        else []
    )
    says += (
        [f"{len(plan.kept):,} have an image that is kept unverified; it can be accepted, free."] if plan.kept else []
    )
    return Proposal(
        title=f"Try {len(targets):,} job{'s' * (len(targets) != 1)} again",
        button="Buy again" if buys_again else "Try again",
        command=command("retry", wish, *(["--buy-again"] if buys_again else [])),
        do=do,
        says=says,
        targets=targets,
        act=f"retry {buys_again}",
        at=plan.at,
        worst=bulk.second_charge(purchases.again) if purchases.again else None,
        purchases=purchases,
        may_cost=purchases.are_any,
        nothing="" if targets else "No failed job here can be collected again, free.",
    )


def _cancel(client: Client, wish: Wish) -> Proposal:
    try:
        plan = client.plan_cancel(job=wish.job, **wish.jobs)
    except ValueError as error:
        raise WrongFormError(str(error)) from None

    def do() -> str:
        done = client.carry_out_cancel(plan)
        return counted({name: n for name, n in done.jobs.items() if name != "held"}, done.moved_on)

    return Proposal(
        title=f"Cancel {len(plan.targets):,} job{'s' * (len(plan.targets) != 1)}",
        button="Cancel the jobs",
        command=command("cancel", wish),
        do=do,
        says=["What is not bought yet ends now, free. What is bought is followed, stored and accounted for."],
        targets=plan.targets,
        act=plan.act,
        at=plan.at,
        nothing="" if plan.targets else "No job here can be cancelled any more.",
    )


def _resume(client: Client, wish: Wish) -> Proposal:
    account = wish.need("account")
    return Proposal(
        title=f"Resume account {account}",
        button="Resume",
        command=("resume", account),
        do=lambda: f"{account} buys again" if client.resume(account) else f"there is no account {account}",
        says=["New paid calls start again, one at first. Its waiting jobs are bought as their batches planned."],
    )


def _pause(client: Client, wish: Wish) -> Proposal:
    account, reason = wish.need("account"), wish.text("reason") or "paused on the dashboard"
    return Proposal(
        title=f"Pause account {account}",
        button="Pause",
        command=("pause", account, "--reason", reason),
        do=lambda: f"{account} buys nothing more" if client.pause(account, reason) else f"{account} was already paused",
        says=["No new paid call starts. What is bought already is still collected."],
        asks=("reason",),
    )


def _cap(client: Client, wish: Wish) -> Proposal:
    batch, provider, amount = wish.need("batch"), wish.need("provider"), wish.text("amount")
    if amount is not None and amount_in(amount) is None:
        raise WrongFormError(f"{amount[:40]!r} is not an amount such as 10.00")
    terms = f"{provider}={amount}"

    def do() -> str:
        caps = client.cap(batch, [terms])
        return f"{batch} may spend {caps[provider]:f} at {provider}"

    return Proposal(
        title=f"Cap what {batch} may spend at {provider}",
        button="Set the cap",
        command=("cap", batch, terms) if amount else ("cap", batch, f"{provider}=AMOUNT"),
        do=do,
        says=[
            f"The batch will spend no more than {amount} at {provider}, all its calls counted."
            if amount
            else "Say how much the batch may spend in all, in the provider's own unit.",
            "Jobs that wait for room get back in line.",
        ],
        may_cost=True,
        asks=("amount",),
        nothing="" if amount else "Say an amount.",
    )


def _policy(client: Client, wish: Wish) -> Proposal:
    batch, policy = wish.need("batch"), wish.need("policy")
    if policy not in {"hold", "resend"}:
        raise WrongFormError("the policy is hold or resend")

    def do() -> str:
        change = client.set_policy(batch, cast("OnUnknown", policy))
        return (
            f"{batch}: lost calls were {change.before}, and are {change.now}; {change.due:,} jobs are looked at again"
        )

    risk = "The risk: if a provider hides a purchase, that call is charged a second time."
    free = "The queue never pays twice by itself."
    return Proposal(
        title=f"Lost calls of {batch}: {policy}",
        button=f"Set {policy}",
        command=("policy", batch, policy),
        do=do,
        says=[
            f"A job is sent again, at most twice, once it is proved that its lost call bought nothing. {risk}"
            if policy == "resend"
            else f"What is found is collected; the rest is held for a person. {free}"
        ],
        may_cost=policy == "resend",
    )


def _look(client: Client, wish: Wish) -> Proposal:
    job = wish.job
    if job is None:
        raise WrongFormError("job is missing")
    return Proposal(
        title="Look again for what the lost call bought",
        button="Look again",
        command=("look-again", str(job)),
        do=lambda: f"it is {client.look_again(job)}, and a worker looks now",
        says=["A worker asks the provider again, and reads a kept answer again. This is free."],
    )


def _accept(client: Client, wish: Wish) -> Proposal:
    images = client.unverified(job=wish.job, batch=wish.text("batch"))

    def do() -> str:
        taken = client.accept(images)
        return f"{taken.images:,} accepted"

    return Proposal(
        title=f"Accept {len(images):,} unverified image{'s' * (len(images) != 1)} as they are",
        button="Accept",
        command=("accept", str(wish.job)) if wish.job else ("accept", "--batch", wish.need("batch")),
        do=do,
        says=["They begin as images and could not be verified. Look at them first."],
        nothing="" if images else "No unverified image is kept here.",
    )


def _hold(client: Client, wish: Wish) -> Proposal:
    batch = wish.need("batch")
    return Proposal(
        title=f"Hold {batch}",
        button="Hold",
        command=("hold", batch),
        do=lambda: f"{client.hold(batch):,} jobs are on hold",
        says=[
            "Nothing more is bought until somebody releases it, and no deadline passes. What is bought is collected."
        ],
    )


def _release(client: Client, wish: Wish) -> Proposal:
    batch = wish.need("batch")
    return Proposal(
        title=f"Release {batch}",
        button="Release",
        command=("release", batch),
        do=lambda: f"{client.release(batch):,} jobs are back in line",
        says=["Its jobs are bought again, within its caps, and get a new deadline."],
    )


def _priority(client: Client, wish: Wish) -> Proposal:
    batch, asked = wish.need("batch"), wish.text("amount") or "0"
    number = int(asked) if len(asked) <= _PRIORITY_CHARS and asked.removeprefix("-").isdecimal() else None
    if number is None or not PRIORITY_MIN <= number <= PRIORITY_MAX:
        raise WrongFormError(f"a priority is a whole number from {PRIORITY_MIN} to {PRIORITY_MAX}")
    return Proposal(
        title=f"Priority {asked} for {batch}",
        button="Set the priority",
        command=("priority", batch, asked),
        do=lambda: f"{client.set_priority(batch, number):,} jobs have it",
        says=["Its jobs are bought before those of lower priorities. Jobs have 0 unless their row says otherwise."],
        asks=("amount",),
    )


def _replay(client: Client, wish: Wish) -> Proposal:
    delivery = wish.job
    if delivery is None:
        raise WrongFormError("the delivery is missing")
    return Proposal(
        title="Send this delivery again",
        button="Send again",
        command=("webhook", "replay", str(delivery)),
        do=lambda: f"{client.replay_delivery(delivery)} delivery is on its way",
        says=["It goes to the same endpoint under its own id. A receiver that keeps ids takes it once. This is free."],
    )


@dataclass(frozen=True, slots=True)
class Act:
    """One act: how it is proposed, and the right that it needs, in some cases a greater one."""

    propose: Callable[[Client, Wish], Proposal]
    right: Right = Right.OPERATE
    spends: Callable[[Wish], bool] = field(default=lambda _wish: False)

    def needs(self, wish: Wish) -> Right:
        """Return the right that a wish needs."""
        return Right.SPEND if self.spends(wish) else self.right


ACTS: Final[Mapping[str, Act]] = {
    "bought": Act(choosing.propose),
    "resolve": Act(_resolve, spends=lambda wish: wish.text("how") == "resend"),
    "retry": Act(_retry, spends=lambda wish: wish.text("how") == "buy-again"),
    "cancel": Act(_cancel),
    "resume": Act(_resume),
    "pause": Act(_pause),
    "cap": Act(_cap, Right.SPEND),
    "policy": Act(_policy, spends=lambda wish: wish.text("policy") == "resend"),
    "look-again": Act(_look),
    "accept": Act(_accept),
    "hold": Act(_hold),
    "release": Act(_release),
    "priority": Act(_priority),
    "replay": Act(_replay, Right.HOOKS),
}
