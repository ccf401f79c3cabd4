"""`genqueue simulator`: the providers' simulator by itself."""

from pathlib import Path
from typing import Annotated

import typer

from ops.simulator.__main__ import main as simulate


def simulator(
    port: Annotated[int, typer.Option(help="0 = a free one")] = 0,
    time_scale: Annotated[float, typer.Option(min=0.01, help="how much faster than real time")] = 20.0,
    seed: Annotated[int, typer.Option(help="of pictures, latencies and drawn faults")] = 0,
    faults: Annotated[Path | None, typer.Option(help="JSON file with a fault plan")] = None,
) -> None:
    """Run the providers' simulator by itself; it prints the base URLs to set.

    Example: genqueue simulator --port 8900 --time-scale 50
    """
    arguments = ["--port", str(port), "--time-scale", str(time_scale), "--seed", str(seed)]
    raise typer.Exit(simulate([*arguments, *(["--faults", str(faults)] if faults else [])]))
