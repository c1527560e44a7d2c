"""`pilotfish replay`: what routers would have made of recorded requests, without a model."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Column, Table

from pilotfish.api import ModelRouter
from pilotfish.base.errors import ConfigError, PilotfishError
from pilotfish.cli.calibrate import NO_PACKAGES, Log, Manifests, scorer_artifacts
from pilotfish.cli.local_options import load_or_exit
from pilotfish.manifests import Loaded
from pilotfish.plugins.registry import Registry


def replay(
    log: Log,
    manifests: Manifests,
    router: Annotated[list[str] | None, typer.Option(help="Only this router; may be repeated.")] = None,
    off_policy: Annotated[
        bool, typer.Option("--off-policy", help="Estimate quality from a log of single answers with propensities.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Every router of the manifests on a log, side by side: quality, cost, share escalated, seconds, per stage."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        loaded = load_or_exit(manifests, Console(stderr=True, highlight=False, soft_wrap=True))
        rows = _rows(log, loaded, router, off_policy=off_policy)
    except PilotfishError as error:
        console.print(f"error: {error}", markup=False)
        raise typer.Exit(1) from error
    if as_json:
        console.print(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode(), markup=False)
    else:
        console.print(_estimates(rows) if off_policy else _replays(rows))


def _rows(log: Path, loaded: Loaded, names: list[str] | None, *, off_policy: bool) -> list[dict[str, Any]]:
    try:
        from pilotfish.calibrate import replay as replays  # noqa: PLC0415 - scipy takes a second to load
        from pilotfish.calibrate.log import read_log  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError("replay", f"{NO_PACKAGES} ({error})") from error
    routers = [resource for resource in loaded.resources if isinstance(resource, ModelRouter)]
    chosen = [router for router in routers if not names or router.name in names]
    if not chosen:
        raise ConfigError("--router", f"the manifests have: {', '.join(router.name for router in routers) or 'none'}")
    entries, registry = read_log(log), Registry.installed()
    rows: list[dict[str, Any]] = []
    for router in chosen:
        artifacts = scorer_artifacts(router, loaded)
        if off_policy:
            found = replays.estimate(entries, router, registry, artifacts)
            rows += [{"router": router.name, **asdict(estimate)} for estimate in found]
        else:
            rows.append(asdict(replays.replay(entries, router, registry, artifacts)))
    return rows


def _replays(rows: list[dict[str, Any]]) -> Table:
    table = Table(
        Column("router", no_wrap=True),
        "requests",
        "quality (95%)",
        "cost of 1,000 (95%)",
        "escalated",
        "seconds, p95",
        "stages",
    )
    for row in rows:
        told = (f"{stage['pool']} {stage['share']:.0%} in {stage['seconds']:.2f} s" for stage in row["stages"])
        seconds = f"{row['seconds'][0]:.2f}, {row['slowest']:.2f}"
        cells = (_interval(row["quality"]), _interval(row["cost"]), f"{row['escalated']:.1%}", seconds, ", ".join(told))
        table.add_row(row["router"], str(row["requests"]), *cells)
    return table


def _estimates(rows: list[dict[str, Any]]) -> Table:
    table = Table("router", "estimator", "quality (95%)", "effective requests", "log cannot tell")
    for row in rows:
        shown = _interval((row["value"], row["low"], row["high"]))
        rests_on = (f"{row['effective_requests']:.0f}", f"{row['unsupported']:.1%}")
        table.add_row(row["router"], row["estimator"], shown, *rests_on)
    return table


def _interval(values: tuple[float, float, float]) -> str:
    return f"{values[0]:.4g} ({values[1]:.4g} to {values[2]:.4g})"
