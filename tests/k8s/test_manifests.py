"""Every manifest is what Kubernetes and KubeRay accept, strictly, and names the versions that are pinned elsewhere."""

from __future__ import annotations

import copy
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from apex_ray.config.load import load
from lstm.config import PRESETS as LSTM
from wavenet.config import PRESETS as WAVENET

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
SCHEMAS = json.loads((K8S / "schemas" / "custom.json").read_text())
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
CONSTRAINTS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
RENDERED = (
    "overlays/cpu",
    "overlays/gpu",
    "jobs/cpu",
    "jobs/gpu",
    "jobs/wavenet/cpu",
    "jobs/wavenet/gpu",
    "jobs/lstm/cpu",
    "jobs/lstm/gpu",
)
KUBERNETES = "1.33"

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


@cache
def rendered(folder: str) -> str:
    command = ["kubectl", "kustomize", str(K8S / folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def documents(folder: str) -> list[dict[str, Any]]:
    return [d for d in yaml.safe_load_all(rendered(folder)) if d]


def find(found: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    (one,) = [d for d in found if d["kind"] == kind and name in ("", d["metadata"]["name"])]
    return one


def validate(document: dict[str, Any]) -> None:
    """ValidationError for a field that is unknown, missing or of the wrong type."""
    custom = SCHEMAS["kinds"].get(f"{document['apiVersion']}/{document['kind']}")
    if custom is None:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
        return
    jsonschema.validate(document, {**custom, "$defs": SCHEMAS["$defs"]})


def pods(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(name, pod spec) of every pod that a document makes."""
    spec, name = document.get("spec", {}), document["metadata"]["name"]
    if document["kind"] == "RayCluster":
        groups = [("head", spec["headGroupSpec"]), *((g["groupName"], g) for g in spec["workerGroupSpecs"])]
        return [(group, g["template"]["spec"]) for group, g in groups]
    template = spec.get("template") or spec.get("submitterPodTemplate")
    return [(name, template["spec"])] if template else []


@needs_kubectl
@pytest.mark.parametrize("folder", RENDERED)
def test_every_document_is_valid(folder: str) -> None:
    found = documents(folder)
    assert found
    for document in found:
        validate(document)


@pytest.fixture
def with_redis(tmp_path: Path) -> list[dict[str, Any]]:
    """The cpu overlay with the component, as a user would write it."""
    shutil.copytree(K8S, tmp_path / "k8s")
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": ["k8s/overlays/cpu"], "components": ["k8s/components/redis"]})
    )
    command = ["kubectl", "kustomize", str(tmp_path)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [d for d in yaml.safe_load_all(out) if d]


@needs_kubectl
def test_with_redis(with_redis: list[dict[str, Any]]) -> None:
    for document in with_redis:
        validate(document)
    options = find(with_redis, "RayCluster")["spec"]["gcsFaultToleranceOptions"]
    service = find(with_redis, "Service", "redis")
    assert options["redisAddress"] == f"redis:{service['spec']['ports'][0]['port']}"
    container = find(with_redis, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    assert container["env"][0]["valueFrom"] == options["redisPassword"]["valueFrom"], "the same secret on both sides"


@needs_kubectl
@pytest.mark.parametrize(
    ("folder", "kind", "path", "value", "told"),
    [
        ("overlays/cpu", "RayCluster", "spec.headGroupSpec.rayStartParam", {}, "rayStartParam"),
        ("overlays/cpu", "RayCluster", "spec.authOptions.mode", "open", "open"),
        ("overlays/cpu", "RayCluster", "spec.workerGroupSpecs.1.maxReplicas", "many", "many"),
        ("overlays/cpu", "RayCluster", "spec.workerGroupSpecs.0.template.spec.containers.0.img", "x", "img"),
        ("jobs/cpu", "RayJob", "spec.entryPoint", "x", "entryPoint"),
        ("overlays/cpu", "PodMonitor", "spec.podMetricsEndpoints.0.prot", "metrics", "prot"),
        ("overlays/cpu", "Deployment", "spec.template.spec.containers.0.imagee", "x", "imagee"),
        ("overlays/cpu", "PersistentVolumeClaim", "spec.accessMode", "x", "accessMode"),
        ("overlays/cpu", "NetworkPolicy", "spec.egres", [], "egres"),
    ],
)
def test_a_broken_manifest_is_caught(folder: str, kind: str, path: str, value: object, told: str) -> None:
    broken = copy.deepcopy(next(d for d in documents(folder) if d["kind"] == kind))
    validate(broken)
    *way, last = path.split(".")
    place: Any = broken
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    place[last] = value
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError), match=told):
        validate(broken)


@needs_kubectl
@pytest.mark.parametrize("folder", RENDERED)
def test_every_pod_is_confined_and_has_what_it_asks_for(folder: str) -> None:
    found = [pod for document in documents(folder) for pod in pods(document)]
    assert found
    for name, spec in found:
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert name == "head" or spec["automountServiceAccountToken"] is False, name
        for container in spec["containers"]:
            assert container["resources"]["requests"] == container["resources"]["limits"], name
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name


@needs_kubectl
def test_the_clusters_groups() -> None:
    cpu, gpu = (find(documents(f"overlays/{o}"), "RayCluster")["spec"] for o in ("cpu", "gpu"))
    for spec in (cpu, gpu):
        assert spec["authOptions"] == {"mode": "token"} and spec["enableInTreeAutoscaling"] is True
        assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0", "no actor lands on the head"
        groups = {g["groupName"]: g for g in spec["workerGroupSpecs"]}
        assert groups["actors"]["minReplicas"] == 0 < groups["actors"]["maxReplicas"]
        assert any("spot" in t["key"] for t in groups["actors"]["template"]["spec"]["tolerations"])
        assert "tolerations" not in groups["learner"]["template"]["spec"] or spec is gpu

    def gpus(spec: dict[str, Any]) -> dict[str, Any]:
        return {
            name: pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu")
            for name, pod in pods({"kind": "RayCluster", "metadata": {"name": ""}, "spec": spec})
        }

    assert gpus(cpu) == {"head": None, "learner": None, "actors": None}
    assert gpus(gpu) == {"head": None, "learner": "1", "actors": None}


@needs_kubectl
@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_a_jobs_command_is_one_that_runs_and_fits_its_cluster(device: str) -> None:
    spec = find(documents(f"jobs/{device}"), "RayJob")["spec"]
    program, command, preset, *settings = shlex.split(spec["entrypoint"])
    assert (program, command) == ("apex-ray", "train")
    config = load(preset, settings).config
    cluster = find(documents(f"overlays/{device}"), "RayCluster")
    assert spec["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    groups = {tuple(g["labels"].items()): g for g in cluster["spec"]["workerGroupSpecs"]}
    learner = groups[tuple(config.cluster.learner_labels.items())]
    assert tuple(config.cluster.actor_labels.items()) in groups
    cores = int(learner["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
    assert isinstance(config.learner.threads, int) and config.learner.threads <= cores
    assert (config.learner.device == "cuda") == (device == "gpu")


@needs_kubectl
@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize(("trainer", "load"), [("wavenet", WAVENET.load), ("lstm", LSTM.load)])
def test_a_data_parallel_jobs_workers_fit_its_clusters_nodes(trainer: str, load: Any, device: str) -> None:
    job = find(documents(f"jobs/{trainer}/{device}"), "RayJob")
    assert job["metadata"]["name"] == trainer
    program, command, preset, *settings = shlex.split(job["spec"]["entrypoint"])
    assert (program, command) == (f"apex-{trainer}", "train")
    workers = load(preset, settings).config.workers
    cluster = find(documents(f"overlays/{device}"), "RayCluster")
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    (group,) = [g for g in cluster["spec"]["workerGroupSpecs"] if g["labels"] == workers.labels]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert workers.count == (1, 8) and workers.autoscale_s > 0, "the cluster may have no worker's node yet"
    assert workers.cpus <= int(limits["cpu"])
    assert workers.gpu == (device == "gpu") == ("nvidia.com/gpu" in limits)
    mounts = group["template"]["spec"]["containers"][0]["volumeMounts"]
    assert any(Path(mount["mountPath"]) in Path(settings[0].partition("=")[2]).parents for mount in mounts)


@needs_kubectl
def test_images_and_versions_do_not_drift() -> None:
    for folder in RENDERED:
        tag = f"apex-ray:{VERSION}-{'cuda' if 'gpu' in folder else 'cpu'}"
        images = {line.split(": ")[1].strip() for line in rendered(folder).splitlines() if "image: " in line}
        assert images == {tag}, folder
    for overlay in ("cpu", "gpu"):
        assert find(documents(f"overlays/{overlay}"), "RayCluster")["spec"]["rayVersion"] == CONSTRAINTS["ray"]


def test_the_image_is_built_from_what_is_pinned() -> None:
    dockerfile = (K8S / "Dockerfile").read_text()
    assert set(re.findall(r"apex-ray:(\S+?)-c", dockerfile)) == {VERSION}
    assert (
        "grep '^torch==' constraints.txt" in dockerfile
        and "pip install --no-cache-dir -c constraints.txt '.[standard]'" in dockerfile
    )
    python = re.search(r"ARG PYTHON=(\d+\.\d+)\.\d+-slim", dockerfile)
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert python and requires == f">={python[1]}"
    user = re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE)
    assert user == ["1000:1000"], "not root, and the user of the manifests"
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    for package in packages:
        name = package.removesuffix("*")
        assert f"COPY {name} ./{name}" in dockerfile, "its console script would not start"
    for copied in re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE):
        for name in copied.split():
            assert (ROOT / name).exists() and f"!{name}" in (ROOT / ".dockerignore").read_text().splitlines()


def test_the_readme_names_the_versions() -> None:
    readme = (K8S / "README.md").read_text()
    assert f"apex-ray:{VERSION}-cpu" in readme and "KubeRay 1.7.0" in readme and CONSTRAINTS["ray"] in readme
