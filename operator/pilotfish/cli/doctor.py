"""`pilotfish doctor`: what this machine lacks, before an engine dies of it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pilotfish.cli.local_options import Cache, Host, Port, cache_folder, load_or_exit, needs_of, print_findings
from pilotfish.local.machine import Needs, examine
from pilotfish.local.run import wanted_of
from pilotfish.local.sizes import sizes_of
from pilotfish.reconcile.local_plan import Wanted, plan


def doctor(
    paths: Annotated[list[Path] | None, typer.Argument(help="Manifests that are to run.", exists=True)] = None,
    port: Port = 8080,
    host: Host = "127.0.0.1",
    cache: Cache = None,
) -> None:
    """Examine this machine, for the given manifests or for one small engine. Exit code 1 if something is missing."""
    console = Console(highlight=False, soft_wrap=True)
    folder = cache_folder(cache)
    if paths:
        wanted = wanted_of(load_or_exit(paths, console))
        planned = plan(wanted, Wanted({}, {}), sizes_of(wanted.pools.values()))
        needs = needs_of(planned, host=host, port=port, cache=folder)
    else:
        needs = Needs(host=host, port=port, cache=folder)
    if print_findings(examine(needs), console):
        raise typer.Exit(1)
