"""Replies to paid calls are lost, closed and reset: each job was sent once; what cannot be found again is held."""

from collections import Counter

from tests.e2e.site import Site

RATES = {
    "reply_lost": 0.04,
    "close_after_read": {"rate": 0.03, "accepted": True},
    "reset_after_read": {"rate": 0.03, "accepted": True},
}


def test_one_paid_post_for_each_job_and_the_unanswered_ones_are_found_or_held(site: Site) -> None:
    site.simulator.put_faults({"seed": 11, "rates": {"getimg.submit": RATES, "bloom.submit": RATES}})
    jobs = site.enqueue("replies-lost", getimg=50, bloom=50)
    totals = site.await_settled("replies-lost")
    sent = [entry for entry in site.simulator.requests(10_000, route="submit") if entry["method"] == "POST"]
    lost = [entry for entry in sent if entry["fault"]]
    assert len(lost) > 3
    held = [entry for entry in lost if entry["provider"] == "getimg"]
    assert 0 < len(held) < len(lost)
    assert totals == {"succeeded": jobs - len(held), "in_doubt": len(held)}
    assert set(Counter(entry["body_sha256"] for entry in sent).values()) == {1}
    assert sum(site.simulator.counters()["paid_posts"].values()) == jobs
    assert len(site.stored("replies-lost")) == jobs - len(held)
