"""``python -m ops.simulator``: run a simulator until SIGINT or SIGTERM."""

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from ops.simulator.config import SimulatorConfig
from ops.simulator.server import Simulator


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 0 stopped, 1 could not start, 2 the options are wrong."""
    options = _parser().parse_args(arguments)
    try:
        simulator = Simulator(_config(options))
    except (ValueError, TypeError, KeyError) as error:
        sys.stderr.write(f"simulator: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"simulator: cannot read {error.filename}: {error.strerror}\n")
        return 2
    try:
        simulator.run(lambda: _announce(simulator, options.ready_file))
    except OSError as error:
        sys.stderr.write(f"simulator: cannot listen on {options.host}:{options.port}: {error.strerror}\n")
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ops.simulator", description=__doc__)
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default 0: a free one)")
    parser.add_argument("--time-scale", type=float, help="simulated seconds in a real one (default 20)")
    parser.add_argument("--seed", type=int, help="seed of pictures, latencies and drawn faults (default 0)")
    parser.add_argument("--pixels", type=int, help="longest side of every picture (default 512)")
    parser.add_argument("--public-url", help="root of the links in replies (default: the host that was asked)")
    parser.add_argument("--config", type=Path, help="JSON file with any setting of SimulatorConfig")
    parser.add_argument("--faults", type=Path, help="JSON file with a fault plan")
    parser.add_argument("--state-file", type=Path, help="keep bill and pictures here across restarts")
    parser.add_argument("--ready-file", type=Path, help="write the ready line here as well")
    return parser


def _config(options: argparse.Namespace) -> SimulatorConfig:
    document = json.loads(options.config.read_text()) if options.config else {}
    config = SimulatorConfig.from_json(document)
    names = ("host", "port", "time_scale", "seed", "pixels", "public_url", "state_file")
    given: dict[str, Any] = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.faults:
        given["faults"] = json.loads(options.faults.read_text())
    return replace(config, **given)


def _announce(simulator: Simulator, ready_file: Path | None) -> None:
    line = json.dumps({**simulator.addresses(), "pid": os.getpid()})
    if ready_file is not None:
        draft = ready_file.with_suffix(ready_file.suffix + ".tmp")
        draft.write_text(line + "\n")
        draft.replace(ready_file)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
