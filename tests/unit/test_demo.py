"""The demo: it says that no worker runs only if none comes."""

from ops.cli.demo import await_workers


def test_the_demo_watches_its_batch_once_a_worker_ticks() -> None:
    counts = iter([0, 0, 1, 2])
    await_workers(lambda: next(counts))
    assert list(counts) == [2]


def test_the_demo_goes_on_if_no_worker_comes() -> None:
    counts = iter([0, 0])
    await_workers(lambda: next(counts), seconds=0)
    assert list(counts) == [0]
