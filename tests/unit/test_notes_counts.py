"""A number with its noun."""

from shared.notes import counted


def test_one_is_said_without_an_s_and_none_and_many_with_it() -> None:
    assert [counted(number, "job") for number in (0, 1, 1200)] == ["0 jobs", "1 job", "1,200 jobs"]
    assert [counted(number, "job waits", "jobs wait") for number in (1, 2)] == ["1 job waits", "2 jobs wait"]
