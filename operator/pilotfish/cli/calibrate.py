"""`pilotfish calibrate`: thresholds from recorded requests, with a guarantee, a report and a recommendation."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pilotfish.api import ModelRouter
from pilotfish.base.errors import ConfigError, PilotfishError
from pilotfish.cli.local_options import load_or_exit
from pilotfish.local.artifacts import address_of, artifacts_of
from pilotfish.manifests import Loaded
from pilotfish.plugins.registry import Registry

if TYPE_CHECKING:
    from pilotfish.calibration.calibrate import Calibrated
    from pilotfish.calibration.statistics.choose import Goal

NO_PACKAGES = "calibration needs additional packages: run pip install 'pilotfish[calibrate]'"

Log = Annotated[
    Path, typer.Argument(help="Recorded requests: .jsonl, .jsonl.gz or .parquet.", exists=True, dir_okay=False)
]
Manifests = Annotated[list[Path], typer.Argument(help="Files or folders with the router.", exists=True)]


def calibrate(
    log: Log,
    manifests: Manifests,
    router: Annotated[str | None, typer.Option(help="Name of the router, if the files have several.")] = None,
    max_quality_loss: Annotated[
        str | None,
        typer.Option(help="Limit on the mean quality lost, compared with the last pool alone, as 2% or 0.02."),
    ] = None,
    confidence: Annotated[str, typer.Option(help="Confidence with which the limit holds, as 95% or 0.95.")] = "95%",
    in_expectation: Annotated[
        bool, typer.Option("--in-expectation", help="Limit the expected loss instead (conformal risk control).")
    ] = False,
    max_spend: Annotated[
        float | None, typer.Option(help="Limit on the spend per 1,000 requests, in the log's currency.", min=0)
    ] = None,
    max_large_share: Annotated[
        str | None, typer.Option(help="Limit on the share of requests for the last pool, as 30%.")
    ] = None,
    today: Annotated[
        Path | None, typer.Option(help="A recent log: report whether scores have moved.", exists=True, dir_okay=False)
    ] = None,
    relearn: Annotated[
        bool, typer.Option("--relearn", help="Learn the scorers from this log even if they have artifacts.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for router.yaml, report.html and report.png.")] = Path("calibrated"),
) -> None:
    """Choose a router's thresholds from a log. Set one of --max-quality-loss, --max-spend, --max-large-share."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        goal = _goal(max_quality_loss, max_spend, max_large_share, None if in_expectation else confidence)
        loaded = load_or_exit(manifests, console)
        found = _calibrated(log, loaded, _router(loaded, router), goal, today, relearn=relearn)
        _write(found, out, console)
    except PilotfishError as error:
        console.print(f"error: {error}", markup=False)
        raise typer.Exit(1) from error


def _goal(loss: str | None, spend: float | None, share: str | None, confidence: str | None) -> "Goal":
    try:
        from pilotfish.calibration.statistics.choose import Goal, GoalType  # noqa: PLC0415 - scipy takes a second to load
    except ModuleNotFoundError as error:
        raise ConfigError("calibrate", f"{NO_PACKAGES} ({error})") from error
    given = [value is not None for value in (loss, spend, share)]
    if sum(given) != 1:
        raise ConfigError("--max-quality-loss, --max-spend, --max-large-share", "set exactly one of them")
    sure = None if confidence is None else ratio("--confidence", confidence)
    if sure is not None and sure <= 0.5:
        raise ConfigError("--confidence", f"{confidence!r} is not more than 50%: set a confidence such as 95%")
    if loss is not None:
        return Goal(GoalType.QUALITY_LOSS, ratio("--max-quality-loss", loss), sure)
    if sure is None:
        raise ConfigError("--in-expectation", "needs --max-quality-loss: set it, or remove --in-expectation")
    if share is not None:
        return Goal(GoalType.LARGE_SHARE, ratio("--max-large-share", share), sure)
    return Goal(GoalType.SPEND, float(spend or 0), sure)


def ratio(option: str, text: str) -> float:
    """`2%` or `0.02` as 0.02. Raises ConfigError for what is not between 0 and 1, both excluded."""
    number = text.strip().removesuffix("%")
    try:
        value = float(number) / (100 if number != text.strip() else 1)
    except ValueError as error:
        raise ConfigError(option, f"{text!r} is not a share: write it as 2% or 0.02") from error
    if not 0 < value < 1:
        raise ConfigError(option, f"{text!r} is not between 0% and 100%, both excluded: write it as 2% or 0.02")
    return value


def scorer_artifacts(router: ModelRouter, loaded: Loaded) -> dict[int, bytes]:
    """Bytes of the artifacts that are there, by the place of the scorer among the router's."""
    by_address = artifacts_of(router, loaded)
    named = {place: address_of(scorer.artifact) for place, scorer in enumerate(router.scorers) if scorer.artifact}
    return {place: by_address[address] for place, address in named.items() if address in by_address}


def _calibrated(
    log: Path, loaded: Loaded, router: ModelRouter, goal: "Goal", today: Path | None, *, relearn: bool
) -> "Calibrated":
    try:
        from pilotfish.calibration.calibrate import calibrate as run  # noqa: PLC0415 - as above, scikit-learn too
        from pilotfish.calibration.log import read_log  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError("calibrate", f"{NO_PACKAGES} ({error})") from error
    artifacts = scorer_artifacts(router, loaded)
    now = read_log(today) if today else []
    entries = read_log(log)
    return run(entries, router, goal, Registry.installed(), artifacts=artifacts, today=now, relearn=relearn)


def _router(loaded: Loaded, name: str | None) -> ModelRouter:
    routers = [resource for resource in loaded.resources if isinstance(resource, ModelRouter)]
    scored = [router for router in routers if router.scorers]
    chosen = [router for router in scored if name in (None, router.name)]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(router.name for router in scored) or "none"
    raise ConfigError("--router", f"set it to one router that has a scorer; the manifests have: {names}")


def _write(found: "Calibrated", out: Path, console: Console) -> None:
    from pilotfish.calibration import manifest, report  # noqa: PLC0415 - matplotlib takes a second to load

    out.mkdir(parents=True, exist_ok=True)
    written = manifest.rewrite(found, out)
    png = report.picture(found)
    (out / "router.yaml").write_text(manifest.to_yaml(written))
    (out / "report.png").write_bytes(png)
    (out / "report.html").write_text(report.page(found, png))
    for name, content in written.files.items():
        (out / name).write_bytes(content)
    console.print(report.recommendation_text(found), markup=False)
    console.print(report.guarantee_text(found), markup=False)
    for line in report.lines(found):
        quality, cost = line.quality[0], line.cost[0]
        console.print(f"  {line.name}: quality {quality:.3f}, {cost:.4g} per 1,000, {line.seconds:.2f} s", markup=False)
    for warning in (*found.choice.warnings, *found.warnings):
        console.print(f"{warning.code.value}: {warning.message}", markup=False)
    for text in report.stopping_texts(found):
        console.print(text, markup=False)
    console.print(f"written: {out / 'router.yaml'}, {out / 'report.html'}, {out / 'report.png'}", markup=False)
