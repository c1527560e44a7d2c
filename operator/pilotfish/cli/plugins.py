"""`pilotfish plugins`: what is installed, without importing it."""

from rich import box
from rich.console import Console
from rich.table import Table

from pilotfish.plugins.registry import Registry


def plugins() -> None:
    """List installed plugins: group, name, distribution, version."""
    table = Table("group", "name", "distribution", "version", box=box.SIMPLE)
    for entry in Registry.installed().entries():
        table.add_row(entry.group, entry.name, entry.distribution, entry.version)
    Console().print(table)
