"""`pilotfish validate`: prints all faults of manifests, with file and line."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pilotfish.manifests import load


def validate(
    paths: Annotated[list[Path], typer.Argument(help="Files or folders with manifests.", exists=True)],
) -> None:
    """Print all faults of the manifests with file and line. Exit code 1 if there are any.

    Warnings do not change the exit code. They name what depends on other files, installed plugins or the engine.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    loaded = load(paths)
    for problem in loaded.problems:
        console.print(str(problem), markup=False)
    for warning in loaded.warnings:
        console.print(f"warning: {warning}", markup=False)
    if loaded.problems:
        console.print(f"faults: {len(loaded.problems)}, files: {loaded.files}", markup=False)
        raise typer.Exit(1)
    Console().print(f"valid resources: {len(loaded.resources)}, files: {loaded.files}")
