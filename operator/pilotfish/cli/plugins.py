"""`pilotfish plugins`: lists, describes, checks and creates plugins."""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pilotfish.api import AdaptationPlugin
from pilotfish.base.errors import PilotfishError
from pilotfish.cli.new_plugin import write_distribution
from pilotfish.cli.plugin_details import config_fields, config_model, declaration_of, declared, summary
from pilotfish.manifests import load
from pilotfish.plugin_api.adaptations import Declaration, Role
from pilotfish.plugin_api.settings import Settings
from pilotfish.plugins.extension_points import ADAPTATIONS, EXTENSION_POINTS, ExtensionPoint
from pilotfish.plugins.folders import entries_of_folder
from pilotfish.plugins.registry import Installed, Registry

plugins = typer.Typer(invoke_without_command=True, help="List, describe, check and create plugins.")


class PluginKind(StrEnum):
    """What `pilotfish plugins new` writes."""

    ADAPTATION = "adaptation"
    SCORER = "scorer"
    SOURCE = "source"


@plugins.callback()
def _default(context: typer.Context) -> None:
    """List, describe, check and create plugins."""
    if context.invoked_subcommand is None:
        list_installed()


@plugins.command("list")
def list_installed() -> None:
    """List the installed plugins without importing them: group, name, distribution and version."""
    registry = Registry.installed()
    table = Table("group", "name", "distribution", "version", box=box.SIMPLE)
    for entry in registry.entries():
        table.add_row(entry.group, entry.name, entry.distribution, entry.version)
    for point in EXTENSION_POINTS:
        if not registry.names(point):
            table.add_row(point.group, "(none installed)")
    Console().print(table)


@plugins.command()
def show(
    name: Annotated[str, typer.Argument(help="The name of the plugin, as `spec.type` or a scorer's `name` has it.")],
) -> None:
    """Show what a plugin declares, the pools that it asks, and the fields of its config."""
    console = Console(highlight=False)
    registry = Registry.installed()
    found = [entry for entry in registry.entries() if entry.name == name]
    if not found:
        names = ", ".join(sorted({entry.name for entry in registry.entries()}))
        _fail(console, f"no plugin is named {name!r}: install it, or use one of: {names}")
    for entry in found:
        try:
            _show(console, entry, registry.load(_point(entry.group), name))
        except PilotfishError as error:
            _fail(console, str(error))


def _show(console: Console, entry: Installed, plugin: Any) -> None:
    facts = Table(box=None, show_header=False)
    facts.add_row("group", entry.group)
    facts.add_row("distribution", f"{entry.distribution} {entry.version}")
    facts.add_row("class", entry.entry_point.value)
    roles: Sequence[Role] = ()
    if entry.group == ADAPTATIONS.group:
        declaration = declaration_of(plugin)
        roles = declaration.roles
        for label, value in declared(plugin, declaration):
            facts.add_row(label, value)
    console.print(f"{entry.name}: {summary(plugin)}", markup=False)
    console.print(facts)
    if roles:
        table = Table("role", "task", "tier", "required", box=box.SIMPLE)
        for role in roles:
            tier = role.tier.value if role.tier else "any"
            table.add_row(role.name, role.task.value, tier, "no" if role.optional else "yes")
        console.print(table)
    if model := config_model(plugin):
        table = Table("config", "type", "default", "description", box=box.SIMPLE)
        for field in config_fields(model):
            table.add_row(*map(escape, (field.path, field.type, field.default, field.description)))
        console.print(table)


@plugins.command()
def check(
    target: Annotated[str, typer.Argument(help="A folder with a pyproject.toml, or the name of a distribution.")],
    manifests: Annotated[
        list[Path] | None,
        typer.Option(help="Files or folders with AdaptationPlugins whose config is used. Defaults to the folder."),
    ] = None,
    documents: Annotated[
        Path | None, typer.Option(help="Folder with documents for plugins that prepare.", exists=True, file_okay=False)
    ] = None,
) -> None:
    """Load the plugins of a distribution and run their contract suites.

    Exit code 1 if a check fails.
    """
    from pilotfish.testing.checking import run_suites  # noqa: PLC0415 - no other command needs what tests import

    console = Console(highlight=False, soft_wrap=True)
    failed = False
    try:
        registry, entries = _entries(target)
        configs = _configs(manifests or ([Path(target)] if Path(target).is_dir() else []), registry)
    except PilotfishError as error:
        _fail(console, str(error))
    contents = _contents(documents)
    for entry in entries:
        console.print(f"{entry.group} {entry.name} ({entry.distribution} {entry.version})", markup=False)
        try:
            plugin: Any = registry.load(_point(entry.group), entry.name)
            if entry.group == ADAPTATIONS.group:
                Declaration.of(plugin)
        except (PilotfishError, TypeError) as error:
            console.print(f"  failed   it can be loaded: {error}", markup=False)
            failed = True
            continue
        console.print("  ok       it can be loaded, and implements its protocol", markup=False)
        for result in run_suites(entry.group, plugin, configs.get(entry.name, Settings()), contents):
            state = "failed" if result.error else "skipped" if result.skipped else "ok"
            reason = result.error or result.skipped
            console.print(f"  {state:<8} {result.name}{f': {reason}' if reason else ''}", markup=False)
            failed = failed or bool(result.error)
    if failed:
        raise typer.Exit(1)


@plugins.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the plugin and of its distribution: lower case, with dashes.")],
    kind: Annotated[PluginKind, typer.Option(help="What the plugin is.")] = PluginKind.ADAPTATION,
    into: Annotated[Path, typer.Option(help="Folder in which the distribution's folder is made.")] = Path(),
) -> None:
    """Write a distribution with one plugin and its tests, which pass."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        folder = write_distribution(name, kind.value, into)
    except PilotfishError as error:
        _fail(console, str(error))
    console.print(
        f"wrote {folder}: run `pip install --editable '{folder}[test]'`, then `pytest {folder}`", markup=False
    )


def _entries(target: str) -> tuple[Registry, Sequence[Installed]]:
    """The plugins of a folder or of an installed distribution, and the registry that loads them."""
    if Path(target).is_dir():
        entries = entries_of_folder(Path(target))
        return Registry(entries), entries
    registry = Registry.installed()
    found = [entry for entry in registry.entries() if entry.distribution == target]
    if not found:
        names = ", ".join(sorted({entry.distribution for entry in registry.entries()}))
        raise PilotfishError(f"{target!r} is neither a folder nor an installed distribution with plugins: {names}")
    return registry, found


def _configs(paths: Sequence[Path], registry: Registry) -> Mapping[str, Settings]:
    """The first config of each type of plugin in the manifests."""
    configs: dict[str, Settings] = {}
    for resource in load(paths, registry=registry).resources if paths else ():
        if isinstance(resource, AdaptationPlugin):
            configs.setdefault(resource.spec.type, Settings(resource.spec.config))
    return configs


def _contents(folder: Path | None) -> Mapping[str, bytes]:
    files: Iterator[Path] = folder.rglob("*") if folder else iter(())
    return {str(path.relative_to(folder or path)): path.read_bytes() for path in files if path.is_file()}


def _point(group: str) -> ExtensionPoint[Any]:
    return next(point for point in EXTENSION_POINTS if point.group == group)


def _fail(console: Console, message: str) -> None:
    console.print(f"error: {message}", markup=False)
    raise typer.Exit(1)
