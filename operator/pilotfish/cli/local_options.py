"""Options of the commands of local mode, loading of manifests, and printing of faults and findings."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pilotfish.api import ModelPool
from pilotfish.local.machine import Level, MachineCheck, Needs
from pilotfish.manifests import Loaded, load, load_apart
from pilotfish.reconcile.local_plan import LocalPlan
from pilotfish.settings import models_cache
from pilotfish.telemetry import tracing

Paths = Annotated[list[Path], typer.Argument(help="Files or folders with manifests.", exists=True)]
Port = Annotated[int, typer.Option(help="Port that the gateway listens on. 0 chooses a free port.", min=0, max=65535)]
Host = Annotated[str, typer.Option(help="Address that the gateway listens on.")]
Cache = Annotated[
    Path | None, typer.Option(help="Folder for fetched weights. Defaults to PILOTFISH_CACHE, or ~/.cache/pilotfish.")
]
Volumes = Annotated[
    list[str] | None,
    typer.Option(
        help="Folder that stands for the volume NAME in pvc://NAME/path. Can be repeated.", metavar="NAME=PATH"
    ),
]
SecretFiles = Annotated[
    list[str] | None,
    typer.Option(help="File with the value of KEY in the Secret NAME. Can be repeated.", metavar="NAME/KEY=FILE"),
]

_MARKS = {Level.FINE: "[green]ok[/]", Level.WARNING: "[yellow]warning[/]", Level.FAULT: "[red]fault[/]"}


def load_or_exit(paths: Sequence[Path], console: Console) -> Loaded:
    """Load the manifests. If any has a fault, print all faults and exit with code 1."""
    loaded = load(paths)
    _exit_on_faults([loaded], console)
    return loaded


def load_apart_or_exit(paths: Sequence[Path], console: Console) -> tuple[Loaded, ...]:
    """Load each path separately, because two paths may have resources with the same name."""
    apart = load_apart(paths)
    _exit_on_faults(apart, console)
    return apart


def _exit_on_faults(found: Sequence[Loaded], console: Console) -> None:
    for loaded in found:
        tell_problems(loaded, console)
    if any(loaded.problems for loaded in found):
        raise typer.Exit(1)


def tell_problems(loaded: Loaded, console: Console) -> None:
    """Print all faults and warnings, with file and line."""
    for problem in loaded.problems:
        console.print(str(problem), markup=False)
    for warning in loaded.warnings:
        console.print(f"warning: {warning}", markup=False)


def cache_folder(given: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder for fetched weights."""
    return given or models_cache(environ)


def traces_endpoint(environ: Mapping[str, str]) -> str | None:
    """The endpoint for the engines' spans, from the standard OTEL_* variables; None if tracing is off."""
    if not tracing.enabled(environ):
        return None
    general = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").rstrip("/")
    return environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or f"{general}/v1/traces"


def needs_of(plan: LocalPlan, *, host: str, port: int, cache: Path) -> Needs:
    """The requirements of the plan on the machine."""
    engines = sum(step.replicas for step in plan.pools if step.deploys)
    return Needs(engines, plan.memory_bytes if engines else 0, plan.gpus, host, port, cache)


def print_findings(findings: Sequence[MachineCheck], console: Console, *, only_bad: bool = False) -> bool:
    """Print findings with their fixes. Returns whether one is a fault."""
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        if finding.level is not Level.FINE or not only_bad:
            table.add_row(_MARKS[finding.level], finding.text + (f"\n→ {finding.fix}" if finding.fix else ""))
    if table.row_count:
        console.print(table)
    return any(finding.level is Level.FAULT for finding in findings)


def where(pool: ModelPool) -> str:
    """A short description of what a pool runs on."""
    if pool.spec.external:
        return pool.spec.external.base_url
    if pool.spec.accelerator:
        return f"{pool.spec.accelerator.count} x {pool.spec.accelerator.type}"
    return "CPU"
