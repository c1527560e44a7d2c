"""The `pilotfish` command."""

import typer

from pilotfish.cli import (
    chat,
    crds,
    doctor,
    explain,
    fetch,
    gateway,
    operator,
    plan,
    plugins,
    serve_pool,
    status,
    up,
    validate,
)

app = typer.Typer(
    name="pilotfish",
    help="Serve small and large language models as one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("up")(up.up)
app.command("plan")(plan.plan)
app.command("status")(status.status)
app.command("chat")(chat.chat)
app.command("explain")(explain.explain)
app.command("doctor")(doctor.doctor)
app.command("validate")(validate.validate)
app.command("plugins")(plugins.plugins)
app.command("fetch")(fetch.fetch)
app.command("crds")(crds.crds)
app.command("operator")(operator.operator)
app.command("gateway")(gateway.gateway)
app.command("serve-pool")(serve_pool.serve_pool)


def main() -> None:
    """Run the command line."""
    app()
