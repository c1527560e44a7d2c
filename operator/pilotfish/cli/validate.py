"""`pilotfish validate`: prints all faults of manifests, with file and line."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pilotfish.manifests import load


def validate(
    paths: Annotated[list[Path], typer.Argument(help="Files or folders with manifests.", exists=True)],
) -> None:
    """Print all faults of the manifests with file and line. Exit code 1 if there are any."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    loaded = load(paths)
    for problem in loaded.problems:
        console.print(str(problem), markup=False)
    for warning in loaded.warnings:
        console.print(f"warning: {warning}", markup=False)
    if loaded.problems:
        console.print(f"{len(loaded.problems)} faults in {loaded.files} files", markup=False)
        raise typer.Exit(1)
    Console().print(f"{len(loaded.resources)} resources in {loaded.files} files are valid")
