"""`pilotfish status`: runs of `pilotfish up` on this machine, and what their models do."""

import asyncio
import os

import aiohttp
import typer
from rich.console import Console
from rich.table import Table

from pilotfish.local import state


def status() -> None:
    """Print every run with its models. Exit code 1 if none runs."""
    console = Console(highlight=False, soft_wrap=True)
    runs = state.running(state.state_folder(os.environ))
    if not runs:
        console.print("nothing runs: start it with `pilotfish up DIR`")
        raise typer.Exit(1)
    for run in runs:
        console.print(f"{run.url}/v1  process {run.pid}  {' '.join(run.paths)}", markup=False)
        console.print(asyncio.run(_models(run)))


async def _models(run: state.RunState) -> Table | str:
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
    return table
