"""How end-to-end tests start the project's own command, and the hasty settings of its workers."""

import os
import sys
from pathlib import Path

from tests.support.drain import BRAND, HASTE

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "ops.cli"]
IMPORTS = {"PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}
KEY = "sim-planted-7f3a9c"


def hurry() -> dict[str, str]:
    """Return the settings of a worker in a hurry."""
    given = {
        **HASTE,
        "send_within_seconds": 2,
        "lease_slack_seconds": 1,
        "fetch_timeout_seconds": 3,
        "s3_timeout_seconds": 2,
        "worker_slots": 8,
        "log_format": "json",
    }
    return {f"GENQUEUE_{name.upper()}": str(value) for name, value in given.items()}


def worker_environment(simulator_url: str) -> dict[str, str]:
    """Return the settings of a hasty worker whose two accounts speak to the simulator."""
    given = {
        "allow_private_urls": "127.0.0.1",
        "bloom_api_key": KEY,
        "bloom_base_url": f"{simulator_url}/bloom/api/v1",
        "bloom_brand_session_id": BRAND,
        "bloom_limits": "100000/minute",
        "bloom_timeout_seconds": "4",
        "bloom_quiet_seconds": "0.5",
        "getimg_api_key": KEY,
        "getimg_base_url": f"{simulator_url}/getimg",
        "getimg_timeout_seconds": "4",
        "getimg_concurrency": "8",
        "getimg_prices": "seedream-5-lite=0.035",
    }
    return {**hurry(), **{f"GENQUEUE_{name.upper()}": value for name, value in given.items()}}
