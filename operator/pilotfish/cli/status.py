"""`pilotfish status`: the running `pilotfish up` processes on this machine, and the state of their models."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any

import aiohttp
import typer
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from pilotfish.local import state


def status() -> None:
    """Print each running `pilotfish up` with the state of its models. Exit code 1 if there is none."""
    console = Console(highlight=False, soft_wrap=True)
    runs = state.running(state.state_folder(os.environ))
    if not runs:
        console.print("no `pilotfish up` is running: start it with `pilotfish up DIR`")
        raise typer.Exit(1)
    for run in runs:
        console.print(f"{run.url}/v1  process {run.pid}  {' '.join(run.paths)}", markup=False)
        console.print(asyncio.run(_models(run)))


async def _models(run: state.RunState) -> Group | str:
    timeout = aiohttp.ClientTimeout(total=10)
    key = os.environ.get("PILOTFISH_API_KEYS", "").partition(",")[0]
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as http,
            http.get(f"{run.url}/v1/models") as answer,
        ):
            answer.raise_for_status()
            models = (await answer.json())["data"]
    except (aiohttp.ClientError, TimeoutError) as error:
        return f"  the gateway does not answer: {error}"
    table = Table("model", "owner", "state", "reason", box=None, pad_edge=False)
    for model in models:
        table.add_row(model["id"], model["owned_by"], model["state"], model.get("reason", ""))
    return Group(table, *(_objective(model["id"], model["objective"]) for model in models if "objective" in model))


def _objective(name: str, reported: Mapping[str, Any]) -> Text:
    """A line with the state of a router's objective."""
    current = reported.get("current", "unknown")
    line = f"{name}: {reported['type']} {current} of {reported['target']} {reported['unit']}"
    if "thresholdPermille" in reported:
        line += f", threshold {reported['thresholdPermille']}"
    return Text(f"{line} ({reported['reason']}{': ' if reported.get('message') else ''}{reported.get('message', '')})")
