"""`pilotfish doctor`: checks whether this machine can run engines."""

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
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files or folders with the manifests to run.", exists=True)
    ] = None,
    port: Port = 8080,
    host: Host = "127.0.0.1",
    cache: Cache = None,
) -> None:
    """Check whether this machine can run the manifests, or one small engine if there are none.

    Exit code 1 if a requirement is not met.
    """
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
