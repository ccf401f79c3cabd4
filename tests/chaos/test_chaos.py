"""A short run of the chaos suite; `make chaos` is the long one."""

from tests.chaos.ground import ChaosSite
from tests.chaos.run import carry_out

_SEED = 21


def test_a_seeded_run_of_kills_and_outages_pays_no_job_twice_and_explains_every_cent(site: ChaosSite) -> None:
    run = carry_out(site, seed=_SEED, jobs=80, crashes=6)
    assert run.faults == [], f"replay: {run.command}"
    assert run.monkey.done["kill"] + run.monkey.done["crash"] >= 6
    assert run.monkey.done["redis wiped"] == 1
    assert run.monkey.done["postgres killed"] == 1
    assert run.monkey.done["clock wrong"] == run.monkey.done["list frozen"] == run.monkey.done["usage frozen"] == 1
