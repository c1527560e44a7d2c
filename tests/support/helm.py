"""Helm, from the PATH or KUBEBUILDER_ASSETS, or built once from its pinned Go module; and what it renders."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "charts" / "pilotfish"
KUBERNETES = "1.34.4"
_MODULE = "helm.sh/helm/v3/cmd/helm@v3.22.0"

Manifest = dict[str, Any]


class Unavailable(Exception):
    """Helm is neither here nor can be built; the text says how to get it."""


class Rejected(Exception):
    """Helm refuses the values; the text is Helm's."""


def find_helm(environ: Mapping[str, str] = os.environ) -> Path:
    """The program, built first where need be. Raises Unavailable."""
    found = shutil.which("helm", path=os.pathsep.join((environ.get("KUBEBUILDER_ASSETS", ""), environ["PATH"])))
    if found:
        return Path(found)
    version = _MODULE.rpartition("@")[2]
    cache = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "pilotfish", f"helm-{version}")
    if not (cache / "helm").is_file():
        if not shutil.which("go"):
            raise Unavailable(f"no helm: install it, or install Go 1.24 or later and {_MODULE} is built once")
        command = ["go", "install", "-trimpath", "-ldflags", "-s -w", _MODULE]
        subprocess.run(command, env={**environ, "GOBIN": str(cache), "CGO_ENABLED": "0"}, check=True)
    return cache / "helm"


def render(
    *options: str,
    values: Mapping[str, Any] | None = None,
    release: str = "pilotfish",
    namespace: str = "pilotfish-system",
) -> list[Manifest]:
    """The chart's objects with `values` over its own. Raises Rejected."""
    command = [find_helm(), "template", release, CHART, "--namespace", namespace, "--kube-version", KUBERNETES]
    given = ["--values", "-"] if values is not None else []
    done = subprocess.run(
        [*command, *given, *options], input=yaml.safe_dump(values or {}), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Rejected(done.stderr)
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def pick(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one object of that kind and name."""
    (found,) = (each for each in manifests if each["kind"] == kind and each["metadata"]["name"] == name)
    return found
