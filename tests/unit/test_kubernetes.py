"""The manifests are valid and keep what Compose keeps: nobody gets in, and nothing paid for is cut off or lost."""

import re
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped] # it ships no types
import pytest
import yaml

from ops.cli import offered
from shared.settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS: dict[str, dict[str, Any]] = {
    f"{file.name}: {document['kind']}": document
    for file in sorted((ROOT / "ops/kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(file.read_text())
}
PODS = {
    name: each["spec"]["template"]["spec"] for name, each in DOCUMENTS.items() if "template" in each.get("spec", {})
}
CONTAINERS = {name: pod["containers"][0] for name, pod in PODS.items()}
WORKER, WORKER_POD = CONTAINERS["worker.yaml: StatefulSet"], PODS["worker.yaml: StatefulSet"]
VERSIONS = ["1.30", "1.34", kubernetes_validate.latest_version()]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_manifest_is_valid_by_the_schemas_of_kubernetes(name: str, version: str) -> None:
    kubernetes_validate.validate(DOCUMENTS[name], version, strict=True)


@pytest.mark.parametrize("name", PODS)
def test_a_pod_meets_the_restricted_standard(name: str) -> None:
    pod, container = PODS[name], CONTAINERS[name]
    assert len(pod["containers"]) == 1
    assert "initContainers" not in pod
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["runAsGroup"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not any("hostPath" in volume for volume in pod["volumes"])


@pytest.mark.parametrize("name", PODS)
def test_a_pod_runs_a_command_of_the_image_of_this_version_with_a_memory_limit(name: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    container = CONTAINERS[name]
    assert container["image"] == f"genqueue:{version}"
    assert container["args"][0] in offered()
    assert set(container["resources"]["limits"]) == {"memory"}


@pytest.mark.parametrize("name", PODS)
def test_secrets_are_given_by_reference_alone(name: str) -> None:
    for variable in CONTAINERS[name]["env"]:
        secret = re.search("URL|KEY|PASSWORD|AUTH|TOKEN", variable["name"])
        assert ("secretKeyRef" in variable.get("valueFrom", {})) is bool(secret), variable
    config = DOCUMENTS["config.yaml: ConfigMap"]["data"]
    assert not any(re.search("KEY|PASSWORD|AUTH|TOKEN|DATABASE|BROKER", variable) for variable in config)
    assert not any(document["kind"] == "Secret" for document in DOCUMENTS.values())


def test_a_role_is_given_only_what_it_needs() -> None:
    given = {
        name: {variable["name"] for variable in each["env"]} | {str(source) for source in each.get("envFrom", ())}
        for name, each in CONTAINERS.items()
    }
    holders = {
        word: {name.partition(".")[0] for name, all_given in given.items() if any(word in each for each in all_given)}
        for word in (
            "DATABASE_URL",
            "BROKER_URL",
            "genqueue-providers",
            "genqueue-bucket",
            "FLOWER_BASIC_AUTH",
            "DASHBOARD_TOKEN",
            "WEBHOOK_KEY",
        )
    }
    assert holders == {
        "DATABASE_URL": {"migrate", "worker", "api", "dashboard", "metrics"},
        "BROKER_URL": {"worker", "flower"},
        "genqueue-providers": {"worker"},
        "genqueue-bucket": {"worker", "api", "dashboard"},
        "FLOWER_BASIC_AUTH": {"flower"},
        "DASHBOARD_TOKEN": {"dashboard"},
        "WEBHOOK_KEY": {"api"},  # a worker has it among the providers' keys
    }


@pytest.mark.parametrize("name", PODS)
def test_every_setting_that_a_pod_is_given_exists(name: str) -> None:
    names = {variable["name"] for variable in CONTAINERS[name]["env"]}
    names |= set(DOCUMENTS["config.yaml: ConfigMap"]["data"])
    ours = {each.removeprefix("GENQUEUE_").lower() for each in names if each.startswith("GENQUEUE_")}
    assert ours <= set(Settings.model_fields)


def test_a_worker_may_stop_by_itself_before_it_is_killed() -> None:
    given = {variable["name"]: variable.get("value") for variable in WORKER["env"]}
    assert float(given["GENQUEUE_STOP_SECONDS"]) == Settings().stop_seconds
    assert WORKER_POD["terminationGracePeriodSeconds"] > float(given["GENQUEUE_STOP_SECONDS"])


def test_a_workers_spool_outlives_it_and_is_its_own() -> None:
    claims = DOCUMENTS["worker.yaml: StatefulSet"]["spec"]["volumeClaimTemplates"]
    mounts = {mount["name"]: mount["mountPath"] for mount in WORKER["volumeMounts"]}
    given = {variable["name"]: variable.get("value") for variable in WORKER["env"]}
    assert [claim["metadata"]["name"] for claim in claims] == ["spool"]
    assert Path(given["GENQUEUE_SPOOL_DIR"]).parent == Path(mounts["spool"])
    assert WORKER_POD["securityContext"]["fsGroup"] == WORKER_POD["securityContext"]["runAsGroup"]
    kept = DOCUMENTS["worker.yaml: StatefulSet"]["spec"]["persistentVolumeClaimRetentionPolicy"]
    assert kept == {"whenDeleted": "Retain", "whenScaled": "Retain"}


def test_probes_ask_for_progress_and_outlast_a_restart_of_postgresql() -> None:
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert WORKER[probe]["exec"]["command"] == ["genqueue", "health"]
        assert WORKER[probe]["timeoutSeconds"] <= 30
    assert WORKER["livenessProbe"]["periodSeconds"] * WORKER["livenessProbe"]["failureThreshold"] >= 600


def test_a_drain_takes_one_worker_at_a_time() -> None:
    budget = DOCUMENTS["worker.yaml: PodDisruptionBudget"]["spec"]
    workers = DOCUMENTS["worker.yaml: StatefulSet"]["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"] == workers["selector"]["matchLabels"]
    assert workers["selector"]["matchLabels"].items() <= workers["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("name", ["api.yaml: Deployment", "dashboard.yaml: Deployment"])
def test_a_probe_of_what_checks_host_names_asks_for_one_that_is_allowed(name: str) -> None:
    asked = CONTAINERS[name]["readinessProbe"]["httpGet"]
    assert asked["httpHeaders"] == [{"name": "Host", "value": "localhost"}]
