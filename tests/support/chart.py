"""The Helm chart: its values, and what `helm template` makes of them."""

import functools
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "image-gateway"
SETS = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
"""The sets of values that the chart is rendered with."""

Manifest = dict[str, Any]


def values_of(name: str) -> dict[str, Any]:
    """What a set gives."""
    found: dict[str, Any] = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text("utf-8"))
    return found


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run helm, the one of the path or the one that `tests/deploy/get_helm.py` brings."""
    beside = Path(sys.executable).parent / "helm"
    command = shutil.which("helm") or (str(beside) if beside.exists() else None)
    if command is None:
        pytest.skip("helm is not at hand: python tests/deploy/get_helm.py")
    return subprocess.run([command, *arguments], capture_output=True, text=True, timeout=60)


@functools.cache
def rendered(name: str, *settings: str) -> tuple[Manifest, ...]:
    """All manifests of a set, with single values changed (`gateway.replicas=3`)."""
    done = _template(name, settings)
    assert done.returncode == 0, done.stderr
    return tuple(manifest for manifest in yaml.safe_load_all(done.stdout) if manifest is not None)


def refusal(name: str, *settings: str) -> str:
    """Why helm does not render a set with single values changed."""
    done = _template(name, settings)
    assert done.returncode != 0
    return done.stderr


def _template(name: str, settings: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    changed = [part for setting in settings for part in ("--set", setting)]
    file = str(CHART / "ci" / f"{name}-values.yaml")
    return helm("template", "images", str(CHART), "--namespace", "prod", "--values", file, *changed)


def of_kind(manifests: tuple[Manifest, ...], *kinds: str) -> list[Manifest]:
    """Those of some kinds."""
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def named(manifests: tuple[Manifest, ...], kind: str, name: str) -> Manifest:
    """The one of this kind and name."""
    (found,) = [m for m in of_kind(manifests, kind) if m["metadata"]["name"] == name]
    return found


def workloads(manifests: tuple[Manifest, ...]) -> list[Manifest]:
    """Whatever makes pods."""
    return of_kind(manifests, "Deployment", "StatefulSet", "Job")


def pod_of(workload: Manifest) -> Manifest:
    """The spec of its pods."""
    spec: Manifest = workload["spec"]["template"]["spec"]
    return spec


def container_of(workload: Manifest) -> Manifest:
    """The one container of its pods."""
    (container,) = pod_of(workload)["containers"]
    found: Manifest = container
    return found


def pod_labels(workload: Manifest) -> dict[str, str]:
    """What its pods are found by."""
    labels: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return labels


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a selector (`matchLabels` and `matchExpressions`) finds what has these labels."""
    exact = selector.get("matchLabels", {}).items() <= labels.items()
    return exact and all(
        rule["operator"] == "In" and labels.get(rule["key"]) in rule["values"]
        for rule in selector.get("matchExpressions", ())
    )


def environment(manifests: tuple[Manifest, ...], workload: Manifest) -> dict[str, str]:
    """The variables that the container gets; of one that a Secret's key has, the Secret's name."""
    container, found = container_of(workload), dict[str, str]()
    for source in container.get("envFrom", ()):
        ((kind, reference),) = source.items()
        kind = {"configMapRef": "ConfigMap", "secretRef": "Secret"}[kind]
        for manifest in of_kind(manifests, kind):
            if manifest["metadata"]["name"] == reference["name"]:
                found |= manifest["data" if kind == "ConfigMap" else "stringData"]
    for variable in container.get("env", ()):
        value = variable.get("value")
        found[variable["name"]] = variable["valueFrom"]["secretKeyRef"]["name"] if value is None else value
    return found
