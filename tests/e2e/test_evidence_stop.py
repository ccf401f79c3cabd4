"""A stop ends although PostgreSQL takes an answer never, and the next worker records what the first one bought."""

import signal
from pathlib import Path

from tests.e2e.site import Site

REFUSE = """
CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.http_status = 202 THEN RAISE EXCEPTION 'no' USING ERRCODE = 'P0001'; END IF; RETURN NEW;
END $$
"""
TRIGGER = "CREATE TRIGGER refusing BEFORE UPDATE ON submission FOR EACH ROW EXECUTE FUNCTION refuse()"


def test_sigterm_ends_a_worker_whose_evidence_is_never_taken_and_the_next_one_records_it(
    empty_site: Site, tmp_path: Path
) -> None:
    site, evidence = empty_site, tmp_path / "evidence"
    worker = site.start_worker("worker-1", GENQUEUE_SPOOL_DIR=str(tmp_path), GENQUEUE_BLOOM_QUIET_SECONDS="600")
    site.await_ticking(1)
    site.sql(REFUSE)
    site.sql(TRIGGER)
    try:
        site.enqueue("stuck", bloom=2)
        site.until(lambda: len(list(evidence.glob("*.json"))) == 2)
        site.enqueue("others", getimg=6)
        assert site.await_settled("others") == {"succeeded": 6}
        site.stack._children.pop("worker-1")
        worker.send(signal.SIGTERM)
        assert worker.wait(40) == 0
        assert len(list(evidence.glob("*.json"))) == 2
    finally:
        site.sql("DROP TRIGGER refusing ON submission")
        site.workers.pop("worker-1", None)
    site.start_worker("worker-1", GENQUEUE_SPOOL_DIR=str(tmp_path))
    assert site.await_settled("stuck") == {"succeeded": 2}
    assert not list(evidence.glob("*.json"))
    assert site.accepted() == 8
