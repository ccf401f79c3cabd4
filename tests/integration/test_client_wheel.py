"""The client's wheel, in an environment of its own, beside a service that has its own package `shared`."""

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from producer import Client
from tests.support.api import serving

SERVICE = """
import sys
import shared
from genqueue_client import Client

assert shared.NAME == "the service's own"
with Client(sys.argv[1]) as client:
    job = client.submit(provider="bloom", prompt="a harbour", batch="shop", custom_id="hero")
    print(job.cancel().state, len(list(client.results("shop"))))
ours = {"ops", "producer", "worker", "pydantic", "sqlalchemy"}
print(*sorted(ours & {name.partition(".")[0] for name in sys.modules}))
"""


def needed(name: str, seen: set[str]) -> Iterator[str]:
    """Yield a distribution and all that it needs."""
    if name in seen:
        return
    seen.add(name)
    yield name
    for line in distribution(name).requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield from needed(requirement.name.lower(), seen)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place, source = tmp_path_factory.mktemp("dist"), Path(__file__).parents[2] / "client"
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (made,) = place.glob("*.whl")
    return made


def test_the_wheel_has_one_typed_package_and_needs_only_httpx(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
        (facts,) = (content.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
    assert {name.partition("/")[0] for name in names} == {"genqueue_client", "genqueue_client-0.2.0.dist-info"}
    assert "genqueue_client/py.typed" in names
    assert [line for line in facts.splitlines() if line.startswith("Requires-Dist")] == [
        "Requires-Dist: httpx<0.29,>=0.27"
    ]


def test_a_service_with_its_own_package_shared_orders_through_the_wheel(
    wheel: Path, client: Client, tmp_path: Path
) -> None:
    environment, service = tmp_path / "environment", tmp_path / "service"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(packages)
    for name in needed("httpx", set()):
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or () if file.parts[0] not in {"..", "__pycache__"}}:
            (packages / top).symlink_to(Path(str(found.locate_file(top))))
    (service / "shared").mkdir(parents=True)
    (service / "shared" / "__init__.py").write_text('NAME = "the service\'s own"\n')
    (service / "main.py").write_text(SERVICE)
    with serving(client, open_to_all=True) as http:
        command = [str(environment / "bin" / "python"), "main.py", str(http.base_url)]
        ran = subprocess.run(command, cwd=service, env={}, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "cancelled 1\n\n"
