"""`pilotfish replay`: simulate routers on recorded requests, without a model."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Column, Table

from pilotfish.api import ModelRouter
from pilotfish.base.errors import ConfigError, PilotfishError
from pilotfish.cli.calibrate import NO_PACKAGES, Log, Manifests, scorer_artifacts
from pilotfish.cli.local_options import load_apart_or_exit
from pilotfish.plugins.registry import Registry


def replay(
    log: Log,
    manifests: Manifests,
    router: Annotated[list[str] | None, typer.Option(help="Use only this router. Can be repeated.")] = None,
    off_policy: Annotated[
        bool,
        typer.Option(
            "--off-policy", help="Estimate quality from a log in which not every pool answered every request."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the routers of the manifests on a log: quality, cost, share escalated, seconds, and each stage."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        rows = _rows(log, _routers(manifests, router), off_policy=off_policy)
    except PilotfishError as error:
        console.print(f"error: {error}", markup=False)
        raise typer.Exit(1) from error
    if as_json:
        console.print(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode(), markup=False)
    else:
        console.print(_estimates(rows) if off_policy else _replays(rows))
        for warning in _learned_from(rows):
            console.print(warning, markup=False)


@dataclass(frozen=True)
class _Router:
    """A router of one of the given paths, which may hold routers of one name: before and after a calibration."""

    path: Path
    router: ModelRouter
    artifacts: Mapping[int, bytes]


def _routers(paths: Sequence[Path], names: Sequence[str] | None) -> list[_Router]:
    """Routers with what they learned, from a ConfigMap of their own path or else of any other."""
    apart = load_apart_or_exit(paths, Console(stderr=True, highlight=False, soft_wrap=True))
    everywhere = {key: item for loaded in apart for key, item in loaded.config_maps.items()}
    found = [
        _Router(
            path,
            resource,
            scorer_artifacts(resource, replace(loaded, config_maps={**everywhere, **loaded.config_maps})),
        )
        for path, loaded in zip(paths, apart, strict=True)
        for resource in loaded.resources
        if isinstance(resource, ModelRouter)
    ]
    chosen = [each for each in found if not names or each.router.name in names]
    if not chosen:
        have = ", ".join(dict.fromkeys(each.router.name for each in found)) or "none"
        raise ConfigError("--router", f"no router of the manifests has this name; they have: {have}")
    return chosen


def _rows(log: Path, routers: Sequence[_Router], *, off_policy: bool) -> list[dict[str, Any]]:
    try:
        from pilotfish.calibration import replay as replays  # noqa: PLC0415 - scipy takes a second to load
        from pilotfish.calibration.learning import not_learned_from  # noqa: PLC0415
        from pilotfish.calibration.log import read_log  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError("replay", f"{NO_PACKAGES} ({error})") from error
    entries, registry = read_log(log), Registry.installed()
    rows: list[dict[str, Any]] = []
    for each in routers:
        learned_from = len(entries) - len(not_learned_from(entries, each.router, registry, each.artifacts))
        common = {"router": each.router.name, "path": str(each.path), "learned_from": learned_from}
        if off_policy:
            found = replays.estimate(entries, each.router, registry, each.artifacts)
            rows += [{**common, **asdict(estimate)} for estimate in found]
        else:
            rows.append({**common, **asdict(replays.replay(entries, each.router, registry, each.artifacts))})
    return rows


def _labels(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Routers' names, with the path of each where several have one name."""
    names = Counter(name for name, _ in {(row["router"], row["path"]) for row in rows})
    return [f"{row['router']}\n{row['path']}" if names[row["router"]] > 1 else row["router"] for row in rows]


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
    for label, row in zip(_labels(rows), rows, strict=True):
        parts = (f"{stage['pool']} {stage['share']:.0%} in {stage['seconds']:.2f} s" for stage in row["stages"])
        seconds = f"{row['seconds'][0]:.2f}, {row['slowest']:.2f}"
        cells = (
            _interval(row["quality"]),
            _interval(row["cost"]),
            f"{row['escalated']:.1%}",
            seconds,
            ", ".join(parts),
        )
        table.add_row(label, str(row["requests"]), *cells)
    return table


def _estimates(rows: list[dict[str, Any]]) -> Table:
    table = Table(Column("router", no_wrap=True), "estimator", "quality (95%)", "effective requests", "no information")
    for label, row in zip(_labels(rows), rows, strict=True):
        shown = _interval((row["value"], row["low"], row["high"]))
        rests_on = (f"{row['effective_requests']:.0f}", f"{row['unsupported']:.1%}")
        table.add_row(label, row["estimator"], shown, *rests_on)
    return table


def _learned_from(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of each router with a learned scorer, how many requests it does not count for."""
    counts = {(row["router"], row["path"]): row["learned_from"] for row in rows if row["learned_from"]}
    return [
        f"router {name!r} of {path}: {count} requests were left out because its scorer learned from them"
        for (name, path), count in counts.items()
    ]


def _interval(values: tuple[float, float, float]) -> str:
    return f"{values[0]:.4g} ({values[1]:.4g} to {values[2]:.4g})"
