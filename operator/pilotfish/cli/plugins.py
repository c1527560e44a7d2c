"""`pilotfish plugins`: lists installed plugins without importing them."""

from rich import box
from rich.console import Console
from rich.table import Table

from pilotfish.plugins.extension_points import EXTENSION_POINTS
from pilotfish.plugins.registry import Registry


def plugins() -> None:
    """List the installed plugins: group, name, distribution and version."""
    registry = Registry.installed()
    table = Table("group", "name", "distribution", "version", box=box.SIMPLE)
    for entry in registry.entries():
        table.add_row(entry.group, entry.name, entry.distribution, entry.version)
    for point in EXTENSION_POINTS:
        if not registry.names(point):
            table.add_row(point.group, "(none installed)")
    Console().print(table)
