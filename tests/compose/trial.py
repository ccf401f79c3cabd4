"""What is done to a trial in containers, one step after the other; each says what was seen."""

import hashlib
import json
import os
import socket
import tempfile
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.error import HTTPError

from ops.cli import WITH_PARTS
from ops.demo.verdict import compare
from producer import Client
from tests.compose import load
from tests.compose.engine import ComposeTestError, Project, docker, inspect, until

SERVICES: Final = ("postgres", "redis", "simulator", "s3", "worker", "api", "flower")
_STARTS_SECONDS: Final = 600.0
_BILLING_PROVIDERS: Final = 4
"""All but Banatie, which states no cost."""
_ORDINARY_USER: Final = 1000
# `docker kill` counts as a person's wish, after which the engine starts nothing again; a crash comes from inside.
_KILL: Final = """
import os, pathlib, signal
for entry in pathlib.Path('/proc').glob('[0-9]*'):
    words = (entry / 'cmdline').read_bytes().split(b'\\0')
    if b'ops.cli' in words and b'worker' in words and entry.name != '1':
        os.kill(int(entry.name), signal.SIGKILL)
"""
_SPOOL: Final = """
from pathlib import Path
from worker.evidence import private_files
path = Path('/volume/spool')
private_files.make_private(path, tighten=True)
assert path.stat().st_mode & 0o777 == 0o700
"""
_EVERY_HELP: Final = """
for command in $(python -c 'from ops.cli import offered; print(*offered())'); do
  genqueue $command --help > /dev/null || exit 1; echo $command
done
"""


@dataclass(frozen=True)
class Trial:
    """A trial's project, and the port on which producers outside reach its PostgreSQL."""

    project: Project
    image: str
    port: int

    @property
    def client(self) -> Client:
        return Client(f"postgresql://genqueue:trial@127.0.0.1:{self.port}/genqueue")

    def enqueue(self, batch: str, each: int) -> None:
        """Enqueue as a producer outside of Compose does."""
        with self.client as opened:
            opened.enqueue(load.rows(each), batch=batch)

    def as_user(self, directory: Path, *arguments: str) -> str:
        """Run a command as the documentation says, for an ordinary user of the host in a directory of theirs."""
        owner = directory.stat()
        user, mount = f"{owner.st_uid}:{owner.st_gid}", f"{directory}:/work"
        return self.project.compose("run", "--rm", "-T", "--user", user, "--volume", mount, "cli", *arguments)


Step = Callable[[Trial], str]


def says_what_it_is(trial: Trial) -> str:
    """The image says its version and offers what it contains; every command that it offers gives its help."""
    version = docker("run", "--rm", trial.image, "--version").strip()
    helped = docker("run", "--rm", "--entrypoint", "sh", trial.image, "-c", _EVERY_HELP).split()
    if set(helped) & WITH_PARTS or "worker" not in helped:
        raise ComposeTestError(f"the image offers {helped}")
    refused = docker("run", "--rm", trial.image, "demo", check=False)
    if "not part of this image" not in refused:
        raise ComposeTestError(f"`demo` in the production image says: {refused}")
    return f"`{version}`, help of {len(helped)} commands; `demo` says that it is not part of the image"


def takes_a_kubernetes_volume(trial: Trial) -> str:
    """A worker's spool is made in a volume as Kubernetes gives it: root's, and open to the group of the pod."""
    volume = "/volume:uid=0,gid=10001,mode=2775"
    docker("run", "--rm", "--read-only", "--tmpfs", volume, "--entrypoint", "python", trial.image, "-c", _SPOOL)
    return "the spool is private to the worker"


def comes_up(trial: Trial) -> str:
    """`up` from nothing: every service becomes healthy."""
    trial.project.compose("up", "--detach")
    _await_health(trial, workers=2)
    return f"{len(SERVICES)} services healthy, two workers"


def serves_an_ordinary_user(trial: Trial) -> str:
    """Prompts enqueued and pictures downloaded by the documented commands, as an ordinary user of the host."""
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        uid = os.getuid() or _ORDINARY_USER
        os.chown(home, uid, uid if os.getuid() == 0 else os.getgid())
        home.chmod(0o700)
        (home / "prompts.jsonl").write_text(load.lines(4))
        (home / "prompts.jsonl").chmod(0o644)
        trial.as_user(home, "enqueue", "prompts.jsonl", "--batch", "first")
        seen = load.await_success(trial.project, "first")
        trial.as_user(home, "download", "first", "pictures")
        rows = [json.loads(line) for line in trial.as_user(home, "results", "first").splitlines()]
        files = {hashlib.sha256(file.read_bytes()).hexdigest(): file for file in (home / "pictures").iterdir()}
        if not rows or {row["sha256"] for row in rows} != set(files):
            raise ComposeTestError(f"{len(rows)} results, and {len(files)} files that do not match them")
        if {file.stat().st_uid for file in files.values()} != {uid}:
            raise ComposeTestError("the files do not belong to whoever asked for them")
    return f"{seen}; {len(rows)} pictures downloaded, each with its SHA-256"


def tells_its_state(trial: Trial) -> str:
    """`doctor` finds nothing wrong and says TRIAL; Flower asks for its password."""
    told = trial.project.compose("exec", "-T", "worker", "genqueue", "doctor", "--no-settings")
    if "TRIAL" not in told:
        raise ComposeTestError(f"doctor says: {told}")
    login = {"Authorization": "Basic " + b64encode(b"trial:trial").decode()}
    statuses = [_status("http://127.0.0.1:5555/", headers) for headers in ({}, login)]
    if statuses != [HTTPStatus.UNAUTHORIZED, HTTPStatus.OK]:
        raise ComposeTestError(f"Flower answers {statuses}")
    return "doctor: all well, TRIAL; Flower: 401 without its password, 200 with it"


def has_no_way_out(trial: Trial) -> str:
    """The containers of a trial that know an account, or hold pictures, are on internal networks alone."""
    for service in ("worker", "simulator", "s3"):
        networks = inspect(trial.project.containers(service)[0])["NetworkSettings"]["Networks"]
        if not all(
            docker("network", "inspect", "--format", "{{.Internal}}", each).strip() == "true" for each in networks
        ):
            raise ComposeTestError(f"{service} has a way out: {', '.join(networks)}")
    return "worker, simulator and s3: internal networks alone"


def loses_a_worker(trial: Trial) -> str:
    """A worker's process gets SIGKILL with jobs in the air; its container starts again, each job ends or is held."""
    trial.enqueue("killed", 10)
    air = load.await_air(trial.project, "killed")
    victim = trial.project.containers("worker")[0]
    before = inspect(victim)["RestartCount"]
    docker("exec", victim, "python", "-c", _KILL, check=False)
    until("the container starts again", lambda: inspect(victim)["RestartCount"] > before, seconds=60)
    states = load.await_end(trial.project, "killed")
    if not states.keys() <= {"succeeded", "in_doubt"}:
        raise ComposeTestError(f"jobs ended as {states}")
    _await_health(trial, workers=2)
    return f"{air} jobs in the air at the kill; {sum(states.values())} jobs: {_words(states)}"


def grows_to_four(trial: Trial) -> str:
    """`--scale worker=4` adds two workers and leaves the others alone."""
    before = set(trial.project.containers("worker"))
    trial.project.compose("up", "--detach", "--no-recreate", "--scale", "worker=4")
    _await_health(trial, workers=4)
    if not before < set(trial.project.containers("worker")):
        raise ComposeTestError("a worker was replaced")
    with trial.client as opened:
        living = opened.live_workers()
    return f"{living} workers dispatch"


def restarts_every_worker(trial: Trial) -> str:
    """A rolling restart of all four workers under load."""
    air = []
    for number, container in enumerate(trial.project.containers("worker")):
        trial.enqueue(f"rolling-{number}", 10)
        air.append(load.await_air(trial.project, f"rolling-{number}"))
        docker("restart", "--time", "1800", container)
        until("the restarted worker is well", partial(_is_well, container), seconds=_STARTS_SECONDS)
    for number in range(len(air)):
        load.await_success(trial.project, f"rolling-{number}")
    return (
        f"{' + '.join(map(str, air))} jobs in the air at the stops; {len(air) * 50} jobs, all succeeded, none in doubt"
    )


def loses_redis(trial: Trial) -> str:
    """Redis is restarted under load."""
    return _restarts(trial, "redis")


def loses_postgres(trial: Trial) -> str:
    """PostgreSQL is restarted under load."""
    return _restarts(trial, "postgres")


def goes_down_and_up(trial: Trial) -> str:
    """`down` and `up` on the same volumes, with jobs in the air."""
    trial.enqueue("down", 10)
    air = load.await_air(trial.project, "down")
    trial.project.compose("down", "--timeout", "1800")
    trial.project.compose("up", "--detach")
    _await_health(trial, workers=2)
    return f"{air} jobs in the air at `down`; {load.await_success(trial.project, 'down')}"


def agrees_with_the_bill(trial: Trial) -> str:
    """The ledger agrees with the simulator's own bill of everything above."""
    totals = {name: Decimal(total["amount"]) for name, total in load.charged(trial.project).items()}
    with trial.client as opened:
        accounts = compare(opened.bill(), totals)
    wrong = [account for account in accounts if not account.agrees]
    if wrong or len([account for account in accounts if account.charged]) < _BILLING_PROVIDERS:
        raise ComposeTestError(f"these do not agree, of {accounts}: {wrong}")
    return "; ".join(
        f"{each.name} {each.settled.normalize():f} settled, {each.held.normalize():f} held, "
        f"{each.charged.normalize():f} {each.unit} charged"
        for each in accounts
    )


STEPS: Final[tuple[Step, ...]] = (
    says_what_it_is,
    takes_a_kubernetes_volume,
    comes_up,
    serves_an_ordinary_user,
    tells_its_state,
    has_no_way_out,
    loses_a_worker,
    grows_to_four,
    restarts_every_worker,
    loses_redis,
    loses_postgres,
    goes_down_and_up,
    agrees_with_the_bill,
)


def memory(trial: Trial) -> dict[str, str]:
    """Return the memory that a container of each service uses now, beside its limit."""
    usage = ["stats", "--no-stream", "--format", "{{.MemUsage}}"]
    return {name: docker(*usage, trial.project.containers(name)[0]).strip() for name in SERVICES}


def free_port() -> int:
    """Return a port of loopback that is free now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _restarts(trial: Trial, service: str) -> str:
    trial.enqueue(service, 10)
    air = load.await_air(trial.project, service)
    trial.project.compose("restart", service)
    until(f"{service} is well", lambda: trial.project.well(service), seconds=_STARTS_SECONDS)
    return f"{air} jobs in the air at the restart; {load.await_success(trial.project, service)}"


def _await_health(trial: Trial, *, workers: int) -> None:
    for service in SERVICES:
        count = workers if service == "worker" else 1
        until(
            f"{count} {service} healthy",
            partial(trial.project.well, service, count),
            seconds=_STARTS_SECONDS,
        )


def _is_well(container: str) -> bool:
    state = inspect(container)["State"]
    return bool(state["Running"] and state["Health"]["Status"] == "healthy")


def _status(url: str, headers: dict[str, str]) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as reply:  # noqa: S310 - ours
            return int(reply.status)
    except HTTPError as error:
        return error.code


def _words(states: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
