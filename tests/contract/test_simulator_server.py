"""The simulator as a process: how it says that it is there, how it stops, what it remembers."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from ops.simulator import Simulator, SimulatorConfig

Submission = Callable[..., dict[str, Any]]

_ROOT = Path(__file__).parents[2]
_SUBMIT = "images/generations"


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    command = [sys.executable, "-m", "ops.simulator", "--pixels", "64", *options]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def test_the_ready_line_and_file_name_addresses_that_answer(tmp_path: Path, web: httpx.Client) -> None:
    ready = tmp_path / "ready.json"
    with running("--ready-file", str(ready)) as (process, line):
        assert json.loads(ready.read_text()) == line
        assert line["pid"] == process.pid
        probes = {"bloom": "account", "openrouter": "key", "posteverywhere": "me", "banatie": "api/v1/generations"}
        probes["getimg"] = "v2/billing/balance"
        key = {"x-api-key": "sim-a", "authorization": "Bearer sim-a"}
        assert {name: web.get(f"{line[name]}/{path}", headers=key).status_code for name, path in probes.items()} == (
            dict.fromkeys(probes, 200)
        )
        assert web.get(f"{line['url']}/_sim/health").json()["ok"] is True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_at_once_with_a_request_held_open(number: signal.Signals, submission: Submission) -> None:
    with running("--time-scale", "0.01") as (process, line), httpx.Client(headers={"x-api-key": "sim-a"}) as client:
        image_id = client.post(f"{line['bloom']}/{_SUBMIT}", json=submission()).json()["data"]["ids"][0]
        with pytest.raises(httpx.ReadTimeout):
            client.get(f"{line['bloom']}/images/{image_id}?wait=1", timeout=0.2)
        started = time.monotonic()
        process.send_signal(number)
        assert process.wait(10) == 0
        assert time.monotonic() - started < 3


def test_bill_pictures_and_balances_survive_a_restart(
    tmp_path: Path, web: httpx.Client, submission: Submission
) -> None:
    state = str(tmp_path / "state" / "simulator.json")
    key = {"x-api-key": "sim-a"}
    with running("--state-file", state) as (process, line):
        image_id = web.post(f"{line['bloom']}/{_SUBMIT}", json=submission(), headers=key).json()["data"]["ids"][0]
        bill = web.get(f"{line['url']}/_sim/bill").json()
        process.terminate()
        process.wait(10)
    with running("--state-file", state) as (process, line):
        image = web.get(f"{line['bloom']}/images/{image_id}?wait=1", headers=key).json()["data"]
        picture = web.get(f"{line['url']}/bloom/img/{image_id}", follow_redirects=True)
        again = web.post(f"{line['bloom']}/{_SUBMIT}", json=submission(), headers=key).json()["data"]["ids"][0]
        credit = web.get(f"{line['bloom']}/credits", headers=key).json()["data"]["balance"]
        assert bill["lines"] == web.get(f"{line['url']}/_sim/bill").json()["lines"][:1]
    assert (image["status"], picture.status_code) == ("completed", 200)
    assert again != image_id
    assert credit == 100_000 - 2


def test_it_answers_under_its_own_names_alone(web: httpx.Client, base_config: SimulatorConfig) -> None:
    with Simulator(base_config).serve() as sim:
        for name in ("localhost", "127.0.0.1:1", "[::1]:8900"):
            assert web.get(f"{sim.url}/_sim/bill", headers={"Host": name}).status_code == 200, name
        for path in ("/_sim/bill", "/_sim/faults", "/bloom/api/v1/credits"):
            assert web.get(f"{sim.url}{path}", headers={"Host": "rebound.example:8900"}).status_code == 421, path
    with Simulator(replace(base_config, public_url="http://Sim.example:8900")).serve() as sim:
        port = sim.port
        for name, status in (("sim.example:8900", 200), ("simulator", 421)):
            reply = web.get(f"http://127.0.0.1:{port}/_sim/bill", headers={"Host": name})
            assert reply.status_code == status, name


def test_every_providers_own_memory_survives_a_restart(
    tmp_path: Path, web: httpx.Client, base_config: SimulatorConfig
) -> None:
    config = replace(base_config, state_file=tmp_path / "state.json")
    key = {"x-api-key": "sim-a", "authorization": "Bearer sim-a"}
    with Simulator(config).serve() as sim:
        wanted = {"model": "sim/photo", "prompt": "p"}
        drawn = web.post(f"{sim.openrouter_url}/images", json=wanted, headers=key).headers["x-generation-id"]
        media = web.post(f"{sim.posteverywhere_url}/ai/generate-image", json={"prompt": "p"}, headers=key).json()
        made = web.post(f"{sim.banatie_url}/api/v1/generations", json={"prompt": "p"}, headers=key).json()
        usage = web.get(f"{sim.openrouter_url}/credits", headers=key).json()
    with Simulator(config).serve() as sim:
        paths = (
            f"{sim.openrouter_url}/generation?id={drawn}",
            f"{sim.posteverywhere_url}/media/{media['data']['media_id']}",
            f"{sim.banatie_url}/api/v1/generations/{made['data']['id']}",
        )
        assert [web.get(path, headers=key).status_code for path in paths] == [200, 200, 200]
        assert web.get(f"{sim.openrouter_url}/credits", headers=key).json() == usage
        assert len(sim.bill()["lines"]) == 3


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--time-scale", "0"], "time_scale"),
        (["--faults", "/nonexistent.json"], "/nonexistent.json"),
        (["--config", "/nonexistent.json"], "/nonexistent.json"),
    ],
)
def test_wrong_options_end_it_with_one_line(options: list[str], complaint: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ops.simulator", *options], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1
