"""Where etcd and kube-apiserver come from: KUBEBUILDER_ASSETS, or a build from pinned Go modules, made once."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

PROGRAMS = ("etcd", "kube-apiserver")
KUBERNETES = "1.34.4"
_MODULES = Path(__file__).parent / "modules"
_PACKAGES = {"etcd": "go.etcd.io/etcd/server/v3", "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver"}
_VERSION_FLAGS = " ".join(
    f"-X {package}.{field}={value}"
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    for field, value in (("gitVersion", f"v{KUBERNETES}"), ("gitMajor", "1"), ("gitMinor", "34"))
)


class Unavailable(Exception):
    """The programs are neither here nor can be built; the text says how to get them."""


def find_programs(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder that holds etcd and kube-apiserver, built first where need be. Raises Unavailable."""
    assets = environ.get("KUBEBUILDER_ASSETS")
    if assets:
        missing = [name for name in PROGRAMS if not Path(assets, name).is_file()]
        if missing:
            raise Unavailable(f"KUBEBUILDER_ASSETS is {assets}, which has no {' and no '.join(missing)}")
        return Path(assets)
    cache = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "pilotfish", f"controlplane-{_fingerprint()}")
    missing = [name for name in PROGRAMS if not (cache / name).is_file()]
    if missing and not shutil.which("go"):
        raise Unavailable(
            f"no kube-apiserver and etcd: set KUBEBUILDER_ASSETS to a folder that has them (Kubernetes {KUBERNETES}), "
            "or install Go 1.24 or later and they are built once"
        )
    for name in missing:
        _build(name, cache)
    return cache


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for name in PROGRAMS:
        digest.update((_MODULES / name / "go.mod").read_bytes())
    return f"v{KUBERNETES}-{digest.hexdigest()[:12]}"


def _build(name: str, cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    flags = f"-s -w {_VERSION_FLAGS}" if name == "kube-apiserver" else "-s -w"
    # built beside its place and moved, so that two builders or a killed one never leave half a program
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        made = Path(folder, name)
        command = ["go", "build", "-trimpath", "-ldflags", flags, "-o", str(made), _PACKAGES[name]]
        subprocess.run(command, cwd=_MODULES / name, env={**os.environ, "CGO_ENABLED": "0"}, check=True)
        made.rename(cache / name)
