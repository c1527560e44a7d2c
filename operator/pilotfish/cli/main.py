"""The `pilotfish` command. Only the module of the given subcommand is imported, because their imports are slow."""

import sys
from collections.abc import Iterable
from importlib import import_module

import typer

COMMANDS = (
    "up",
    "plan",
    "status",
    "chat",
    "explain",
    "record",
    "calibrate",
    "replay",
    "validate",
    "doctor",
    "plugins",
    "fetch",
    "prepare",
    "crds",
    "operator",
    "gateway",
    "webhook",
    "serve-pool",
)
"""Each is the function, or the Typer of subcommands, of the same name in the module of the same name, with underscores
for dashes.
"""


def application(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The command line with these subcommands."""
    app = typer.Typer(
        name="pilotfish",
        help="Serve small and large language models as one.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_group)
    for name in names:
        attribute = name.replace("-", "_")
        command = getattr(import_module(f"pilotfish.cli.{attribute}"), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _group() -> None:
    """Serve small and large language models as one."""


def main() -> None:
    """Run the command line."""
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    application((asked,) if asked in COMMANDS else COMMANDS)()
