"""`pilotfish record`: send prompts to the pools of routers and write a log for `calibrate` and `replay`."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import aiohttp
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pilotfish.api import ModelRouter
from pilotfish.base.errors import ConfigError, PilotfishError
from pilotfish.cli.calibrate import NO_PACKAGES, Manifests
from pilotfish.cli.client import gateway_address
from pilotfish.cli.local_options import load_or_exit
from pilotfish.plugins.registry import Registry

COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
    TextColumn("left"),
    TimeRemainingColumn(),
)

if TYPE_CHECKING:
    from pilotfish.calibration.recording import Outcome


def record(
    prompts: Annotated[
        Path,
        typer.Argument(help="JSONL file of prompts: id, prompt, and optionally a check.", exists=True, dir_okay=False),
    ],
    manifests: Manifests,
    router: Annotated[list[str] | None, typer.Option(help="Use only this router. Can be repeated.")] = None,
    out: Annotated[
        Path, typer.Option(help="The log, a .jsonl file. Requests that it already has are not sent again.")
    ] = Path("log.jsonl"),
    url: Annotated[
        str | None, typer.Option(help="URL of the gateway. Defaults to that of the running `pilotfish up`.")
    ] = None,
    at_once: Annotated[int, typer.Option(help="Number of prompts in flight.", min=1, max=256)] = 4,
    max_tokens: Annotated[int, typer.Option(help="Maximum length of an answer, in tokens.", min=1)] = 128,
    limit: Annotated[
        int | None, typer.Option(help="Number of prompts to record. The sample is always the same.", min=1)
    ] = None,
    vectors_from: Annotated[str | None, typer.Option(help="Name of an Embed pool, for the scorer embedding.")] = None,
) -> None:
    """Send every prompt to every pool of the routers, and record answers, log-probabilities and scores. Resumable."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        outcome = asyncio.run(
            _run(
                prompts,
                _routers(manifests, router),
                out,
                _Way(gateway_address(url), at_once, max_tokens, vectors_from, limit),
                console,
            )
        )
    except PilotfishError as error:
        console.print(f"error: {error}", markup=False)
        raise typer.Exit(1) from error
    for request, said in outcome.failed.items():
        console.print(f"{request}: {said}", markup=False)
    console.print(f"{outcome.written} written to {out}, {len(outcome.failed)} failed", markup=False)
    if outcome.failed:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Way:
    """How prompts are sent."""

    url: str
    at_once: int
    max_tokens: int
    vectors_from: str | None
    limit: int | None


def _routers(manifests: Sequence[Path], names: Sequence[str] | None) -> list[ModelRouter]:
    loaded = load_or_exit(manifests, Console(stderr=True, highlight=False, soft_wrap=True))
    routers = [resource for resource in loaded.resources if isinstance(resource, ModelRouter)]
    chosen = [router for router in routers if not names or router.name in names]
    if not chosen:
        have = ", ".join(router.name for router in routers) or "none"
        raise ConfigError("--router", f"no router of the manifests has this name; they have: {have}")
    return chosen


async def _run(prompts: Path, routers: Sequence[ModelRouter], out: Path, way: _Way, console: Console) -> "Outcome":
    try:
        from pilotfish.calibration import judges, recording, resuming  # noqa: PLC0415 - need the packages of calibration
    except ModuleNotFoundError as error:
        raise ConfigError("record", f"{NO_PACKAGES} ({error})") from error
    before = resuming.log_so_far(out)
    wanted = recording.sample(recording.read_prompts(prompts), way.limit)
    pools = tuple(dict.fromkeys(pool for router in routers for pool in router.strategy_pools))
    asked = tuple(judges.judges_of(routers, Registry.installed()))
    key = os.environ.get("PILOTFISH_API_KEYS", "").partition(",")[0]
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
        gateway = recording.Gateway(http, way.url)
        recorder = recording.Recorder(gateway, pools, asked, way.max_tokens, way.vectors_from)
        waiting = recorder.waiting(wanted, before)
        done = len(wanted) - len(waiting)
        with Progress(*COLUMNS, console=console) as progress:
            task = progress.add_task("recorded", total=len(wanted), completed=done)

            def show(outcome: "Outcome") -> None:
                progress.update(task, completed=done + outcome.written + len(outcome.failed))

            return await recording.record(recorder, waiting, out, before=before, at_once=way.at_once, on_progress=show)
