"""`pilotfish crds`: what is generated from the package, written out or compared with what is there."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pilotfish.controller import rbac
from pilotfish.crdgen import crd


def crds(
    folder: Annotated[Path, typer.Argument(help="The repository's root, or any folder for the CRDs alone.")] = Path(),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit code 1 if a file differs.")] = False,
) -> None:
    """Write the CRDs into FOLDER/crds and, where FOLDER has the chart, the chart's copies of them and its roles."""
    files = generated(folder)
    stale = [path for path, text in files.items() if not path.is_file() or path.read_text() != text]
    console = Console(highlight=False, soft_wrap=True)
    if check:
        for path in stale:
            console.print(f"{path} is not what the models say: run `pilotfish crds`", markup=False)
        raise typer.Exit(1 if stale else 0)
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path])
        console.print(f"wrote {path}", markup=False)


def generated(folder: Path) -> dict[Path, str]:
    """Every generated file under `folder`, by path, and what it should hold."""
    files = {folder / "crds" / name: text for name, text in crd.render().items()}
    chart = folder / "charts" / "pilotfish"
    if chart.is_dir():
        templates = chart / "templates" / "crds"
        files |= {templates / name: text for name, text in crd.render_templates().items()}
        files[chart / "templates" / "_rules.tpl"] = rbac.template()
    return files
