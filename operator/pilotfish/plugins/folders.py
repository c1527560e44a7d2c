"""The plugins of a distribution's source folder, which need not be installed."""

import sys
import tomllib
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

from pilotfish.base.errors import PluginError
from pilotfish.plugins.registry import GROUPS, Installed


def entries_of_folder(folder: Path) -> Sequence[Installed]:
    """The plugins that the folder's `pyproject.toml` names. Its packages become importable in this process.

    Raises PluginError for a folder without such a file, and for one that names no plugin.
    """
    path = folder / "pyproject.toml"
    try:
        project = tomllib.loads(path.read_text())["project"]
    except FileNotFoundError as error:
        raise PluginError(f"{path} does not exist: name the folder of a distribution") from error
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise PluginError(f"{path} is not valid, or has no table [project]: {error}") from error
    named = project.get("entry-points", {})
    found = [
        Installed(group, name, project.get("name", folder.name), project.get("version", ""), _point(group, name, value))
        for group in GROUPS
        for name, value in named.get(group, {}).items()
    ]
    if not found:
        raise PluginError(f'{path} names no plugin: add a table [project.entry-points."{GROUPS[0]}"]')
    source = folder / "src"
    sys.path.insert(0, str((source if source.is_dir() else folder).resolve()))
    return found


def _point(group: str, name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=group)
