"""`genqueue simulator`: the providers' simulator by itself."""

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from ops import trial
from ops.extras import require
from ops.running import SIMULATED, simulated_accounts
from ops.stack.errors import StackError
from producer.cli.session import told

_CONTAINER_HOME: Final = Path("/spool")


def simulator(
    port: Annotated[int, typer.Option(help="port to listen on; 0 = a free one")] = 0,
    time_scale: Annotated[float, typer.Option(min=0.01, help="how much faster than real time")] = 20.0,
    seed: Annotated[int, typer.Option(help="seed of images, latencies and random faults")] = 0,
    faults: Annotated[Path | None, typer.Option(help="JSON file with a fault plan")] = None,
    config: Annotated[Path | None, typer.Option(help="JSON file with any of its settings")] = None,
    state: Annotated[Path | None, typer.Option(help="keep its bill and pictures here")] = None,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    public_url: Annotated[str, typer.Option(help="how others reach it; default: as they asked")] = "",
    trial_file: Annotated[
        Path | None, typer.Option(help="write a trial's file for containers; needs --public-url")
    ] = None,
) -> None:
    """Run the providers' simulator by itself; it prints the base URLs to set.

    Example: genqueue simulator --port 8900 --time-scale 50
    """
    with told():
        require("embedded", "ministack")
        if trial_file is not None:
            config = config or _write_trial(trial_file, public_url, time_scale)
    from ops.simulator.__main__ import main as simulate  # noqa: PLC0415 - it needs that extra

    given = {"--faults": faults, "--config": config, "--state-file": state, "--public-url": public_url}
    arguments = ["--host", host, "--port", str(port), "--time-scale", str(time_scale), "--seed", str(seed)]
    raise typer.Exit(simulate([*arguments, *(str(part) for pair in given.items() if pair[1] for part in pair)]))


def _write_trial(file: Path, public_url: str, time_scale: float) -> Path:
    """Write the trial's file, and return the one with the settings that a trial's simulator has."""
    if not public_url:
        raise StackError("--trial-file needs --public-url: the trial's workers must know where the simulator is")
    accounts = trial.accounts_of(simulated_accounts(public_url.rstrip("/"), time_scale))
    config = file.with_name("simulator-config.json")
    try:
        config.write_text(json.dumps(SIMULATED), "utf-8")
        trial.write_for_containers(file, _CONTAINER_HOME, public_url.rstrip("/"), accounts)
    except OSError as error:
        raise StackError(f"cannot write {file}: {error.strerror}") from None
    return config
