"""Measures the cost of enqueueing a large prompt file and of only reading it: `python -m ops.bench.enqueue [ROWS]`.

Rates and ratios exclude the start of a command, which has its own line.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ops.stack import Home, Stack

_ROOT: Final = Path(__file__).parents[2]
_PLAIN_READ: Final = "import json, sys; print(sum(1 for line in open(sys.argv[1]) if json.loads(line)))"


@dataclass(frozen=True, slots=True)
class ProcessCost:
    """The cost of one process, its start included."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


def write_rows(file: Path, rows: int) -> None:
    """Write a JSON Lines file whose rows look like real ones."""
    with file.open("w") as out:
        for number in range(rows):
            prompt = f"a quiet harbour at dawn, watercolour, soft light, view {number} of many"
            row = {"custom_id": f"view-{number}", "provider": "bloom", "prompt": prompt, "aspect_ratio": "16:9"}
            out.write(json.dumps(row) + "\n")


def cost_of(command: list[str], environment: Mapping[str, str]) -> ProcessCost:
    """Run a command to its end; raises `RuntimeError` if it fails."""
    began = time.monotonic()
    process = subprocess.Popen(  # noqa: S603 - our own command
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} ended with status {process.returncode}")
    return ProcessCost(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def main(rows: int) -> None:
    """Print one line for each way to process the file; each runs in its own process."""
    with tempfile.TemporaryDirectory() as directory, Stack(Home(Path(directory) / "home"), ("postgres",)) as stack:
        file = Path(directory) / "prompts.jsonl"
        write_rows(file, rows)
        environment = {"GENQUEUE_DATABASE_URL": stack.endpoints.database_url, "PYTHONPATH": str(_ROOT)}
        command = [sys.executable, "-m", "ops.cli"]
        cost_of([*command, "migrate"], environment)
        start = cost_of([*command, "batches"], environment)
        plain = cost_of([sys.executable, "-c", _PLAIN_READ, str(file)], {})
        first = cost_of([*command, "enqueue", str(file), "--batch", "bench"], environment)
        again = cost_of([*command, "enqueue", str(file), "--batch", "bench"], environment)
    print(f"{rows:,} rows, {os.cpu_count()} cores")
    print(f"{'':24} {'seconds':>8} {'cpu s':>7} {'peak MB':>8} {'rows/s':>9} {'cpu, x plain':>13}")
    print(f"{'a command without rows':24} {start.seconds:8.1f} {start.cpu_seconds:7.1f} {start.peak_mb:8.0f}")
    for name, cost, off in (("plain read", plain, None), ("enqueue", first, start), ("the same again", again, start)):
        rate = rows / (cost.seconds - (off.seconds if off else 0))
        ratio = (cost.cpu_seconds - (off.cpu_seconds if off else 0)) / plain.cpu_seconds
        line = f"{name:24} {cost.seconds:8.1f} {cost.cpu_seconds:7.1f} {cost.peak_mb:8.0f}"
        print(f"{line} {rate:9,.0f} {ratio:12.1f}x")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
