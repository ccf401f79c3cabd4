"""Fault plans: what they draw, and what is wrong with the wrong ones."""

from typing import Any

import httpx
import pytest

from ops.simulator import Simulator, faults


def test_drawn_faults_follow_the_seed_and_not_the_order_of_requests() -> None:
    spec = {"seed": 7, "rates": {"bloom.submit": {"reply_lost": 0.2, "error_5xx": {"rate": 0.2, "status": 502}}}}
    subjects = [f"body {n}" for n in range(500)]

    def drawn(order: list[str]) -> dict[str, str | None]:
        plan = faults.FaultPlan(spec, seed=0)
        chosen = {item: plan.choose("bloom", "submit", item, "", None) for item in order}
        return {item: fault.kind if fault else None for item, fault in chosen.items()}

    kinds = list(drawn(subjects).values())
    assert drawn(subjects) == drawn(subjects[::-1])
    assert 70 < kinds.count("reply_lost") < 130
    assert 70 < kinds.count("error_5xx") < 130


def test_another_script_leaves_what_the_rates_draw_next_as_it_was() -> None:
    spec = {"seed": 7, "rates": {"bloom.submit": {"reply_lost": 0.5}}}
    plain, scripted = faults.FaultPlan(spec, seed=0), faults.FaultPlan(spec, seed=0)

    def drawn(plan: faults.FaultPlan) -> list[str | None]:
        found = [plan.choose("bloom", "submit", "the same body", "", None) for _ in range(20)]
        return [fault.kind if fault else None for fault in found]

    first = drawn(plain), drawn(scripted)
    scripted.put_script([{"match": {"route": "download"}, "fault": "refuse_503", "times": None}])
    away = scripted.choose("bloom", "download", "", "", None)
    assert (away is not None, first[0] == first[1], drawn(plain) == drawn(scripted)) == (True, True, True)


@pytest.mark.parametrize(
    ("plan", "complaint"),
    [
        ([{"fault": "explode"}], "explode"),
        ([{"fault": {"kind": "slow", "minutes": 1}}], "minutes"),
        ([{"fault": {"kind": "reply_lost", "accepted": False}}], "reply_lost"),
        ([{"fault": "redirect_to"}], "url"),
        ([{"fault": "slow", "match": {"path": "/"}}], "match"),
        ({"rates": {"bloom.submit": {"slow": 0.7, "drip": 0.7}}}, "at most 1"),
        ({"rate": {}}, "rate"),
    ],
)
def test_a_plan_that_is_wrong_is_refused_with_the_reason(
    shared_sim: Simulator, web: httpx.Client, plan: Any, complaint: str
) -> None:
    reply = web.put(f"{shared_sim.url}/_sim/faults", json=plan)
    assert reply.status_code == 400
    assert complaint in reply.json()["error"]
    assert web.get(f"{shared_sim.url}/_sim/faults").json() == {}


def test_every_kind_of_fault_is_documented() -> None:
    documentation = faults.__doc__ or ""
    assert [kind for kind in faults.ACCEPTED if f"| ``{kind}`` |" not in documentation] == []
