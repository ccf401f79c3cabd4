"""What `genqueue health` makes of the answers that came over the broker."""

import pytest

from ops.cli.consuming import _names, fault
from shared.lifecycle import Stage

ALL = {stage.value for stage in Stage}


def test_a_worker_that_has_stopped_consuming_one_queue_is_named_with_it() -> None:
    words = fault({"a@host": ALL, "b@host": ALL - {"submit", "poll"}}, 2)
    assert words == "b@host does not consume submit, poll: restart it"


def test_a_worker_that_does_not_answer_is_missed() -> None:
    assert (fault({"a@host": ALL}, 2) or "").startswith("1 of 2 workers answer")
    assert fault({"a@host": ALL, "b@host": ALL}, 2) is None


@pytest.mark.parametrize("answer", [None, 7, {"error": "x"}, [7, None, {}], [{"other": "submit"}]])
def test_an_answer_that_no_worker_of_ours_gives_names_no_queue(answer: object) -> None:
    assert _names(answer) == set()
