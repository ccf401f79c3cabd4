"""PostgreSQL goes away in the middle of a batch: what providers answered waits in memory, and is not paid for again."""

from tests.e2e.site import Site


def test_a_database_killed_and_restarted_loses_no_answer_and_pays_nothing_twice(site: Site) -> None:
    before = site.pids()
    jobs = site.enqueue("database-lost", getimg=40, bloom=30)
    site.await_paid(8)
    site.stack.kill("postgres")
    site.stack.restart("postgres")
    site.await_paid(30)
    site.stack.restart("postgres")  # a fast stop, as an operator's
    assert site.await_settled("database-lost", 120) == {"succeeded": jobs}
    assert set(site.times_paid().values()) == {1}
    assert site.accepted() == jobs
    assert len(site.stored("database-lost")) == jobs
    assert site.pids() == before
