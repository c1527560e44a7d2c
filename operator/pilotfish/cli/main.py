"""The `pilotfish` command."""

import typer

from pilotfish.cli import crds, fetch, operator, plugins, validate

app = typer.Typer(
    name="pilotfish",
    help="Serve small and large language models as one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("validate")(validate.validate)
app.command("plugins")(plugins.plugins)
app.command("fetch")(fetch.fetch)
app.command("crds")(crds.crds)
app.command("operator")(operator.operator)


def main() -> None:
    """Run the command line."""
    app()
