"""`pilotfish crds`: writes the generated files, or checks that they are up to date."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pilotfish.crdgen import crd, rbac


def crds(
    folder: Annotated[
        Path, typer.Argument(help="The root of the repository, or another folder, for the CRDs only.")
    ] = Path(),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing. Exit code 1 if a file is out of date.")
    ] = False,
) -> None:
    """Write the CRDs to FOLDER/crds and, if FOLDER has the chart, its copies of the CRDs and its roles."""
    files = generated(folder)
    stale = [path for path, text in files.items() if not path.is_file() or path.read_text() != text]
    console = Console(highlight=False, soft_wrap=True)
    if check:
        for path in stale:
            console.print(f"{path} is out of date: run `pilotfish crds`", markup=False)
        raise typer.Exit(1 if stale else 0)
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path])
        console.print(f"wrote {path}", markup=False)


def generated(folder: Path) -> dict[Path, str]:
    """The content of every generated file under `folder`, by path."""
    files = {folder / "crds" / name: text for name, text in crd.render().items()}
    chart = folder / "charts" / "pilotfish"
    if chart.is_dir():
        templates = chart / "templates" / "crds"
        files |= {templates / name: text for name, text in crd.render_templates().items()}
        files[chart / "templates" / "_rules.tpl"] = rbac.template()
    return files
