"""`pilotfish plugins`: lists installed plugins without importing them."""

from rich import box
from rich.console import Console
from rich.table import Table

from pilotfish.plugins.registry import Registry


def plugins() -> None:
    """List the installed plugins: group, name, distribution and version."""
    table = Table("group", "name", "distribution", "version", box=box.SIMPLE)
    for entry in Registry.installed().entries():
        table.add_row(entry.group, entry.name, entry.distribution, entry.version)
    Console().print(table)
