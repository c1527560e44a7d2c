"""Writes the distribution of a new plugin from the templates."""

import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from pilotfish.base.errors import ConfigError

COMMON = "common"
SUFFIX = ".tmpl"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def write_distribution(name: str, kind: str, into: Path) -> Path:
    """The new folder, which has the plugin's name. Raises ConfigError for an invalid name, or if the folder exists."""
    if not _NAME.fullmatch(name):
        raise ConfigError("NAME", f"{name!r} must be lower case letters, digits and single dashes, as in `my-plugin`")
    folder = into / name
    if folder.exists():
        raise ConfigError("NAME", f"{folder} exists: use another name, or another folder with --into")
    module = name.replace("-", "_")
    names = {
        "name": name,
        "module": module,
        "class_name": "".join(part.capitalize() for part in name.split("-")),
        "group": f"pilotfish.{kind}s",
        "kind": kind,
    }
    templates = files("pilotfish.cli") / "templates"
    for path, template in (*_templates(templates / COMMON), *_templates(templates / kind)):
        target = folder / path.replace("MODULE", module)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(Template(template.read_text()).substitute(names))
    return folder


def _templates(folder: Traversable, below: str = "") -> Iterator[tuple[str, Traversable]]:
    """Every template with the path of the file that it makes."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _templates(entry, f"{below}{entry.name}/")
        else:
            yield below + entry.name.removesuffix(SUFFIX), entry
