"""A whole worker process without Celery: its dispatcher's messages go to threads of this one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from worker.claiming import Parcel
from worker.process import WorkerProcess
from worker.runtime import Runtime


@contextmanager
def living(runtime: Runtime) -> Iterator[WorkerProcess]:
    """Run a worker with everything that a process has, looks at paused accounts included, until the block ends."""
    with ThreadPoolExecutor(runtime.settings.worker_slots) as threads:

        def publish(parcel: Parcel) -> None:
            threads.submit(process.run, parcel)

        process = WorkerProcess(runtime, publish)
        process.start()
        try:
            yield process
        finally:
            process.close()
