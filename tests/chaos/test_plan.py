"""The plan of a run: the same for the same seed, with providers that are wrong for a part of it."""

from shared import catalog
from tests.chaos import plan
from tests.chaos.ground import TIME_SCALE

_LIES = {
    "clock wrong",
    "list unordered",
    "list in short pages",
    "list frozen",
    "list late",
    "prompts echoed otherwise",
    "strangers in the list",
    "404 after the purchase",
    "usage frozen",
}


def test_the_same_seed_is_the_same_plan_and_another_one_is_another() -> None:
    assert plan.draw(3, 500, 30) == plan.draw(3, 500, 30)
    assert plan.draw(3, 500, 30) != plan.draw(4, 500, 30)


def test_in_every_run_each_lie_is_told_for_a_part_of_it_and_an_image_host_goes_away() -> None:
    for seed in range(20):
        actions = plan.draw(seed, 80, 6)
        lies = [action for action in actions if action.settings]
        assert {lie.kind for lie in lies} == _LIES
        assert all(0 < lie.at < lie.until < 0.96 for lie in lies)
        assert [action for action in actions if action.kind == "image host away"]


def test_clocks_are_wrong_by_less_than_the_quiet_time_in_some_runs_and_by_more_in_others_both_ways() -> None:
    wrong = []
    for seed in range(60):
        (lie,) = (action for action in plan.draw(seed, 80, 6) if action.kind == "clock wrong")
        wrong.append(lie.settings["clock_seconds"] / (catalog.get(lie.target).quiet_seconds / TIME_SCALE))
    assert min(wrong) < -1.4
    assert max(wrong) > 1.4
    assert any(-1 < share < 0 for share in wrong)
    assert any(0 < share < 1 for share in wrong)
