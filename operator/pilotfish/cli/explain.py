"""`pilotfish explain`: show why a router chooses the model that answers a prompt."""

import asyncio
from typing import Annotated, Any

import aiohttp
import orjson
import typer
from rich.console import Console
from rich.table import Table

from pilotfish.base.errors import ModelUnavailable, PilotfishError
from pilotfish.cli.client import checked, gateway_address, session


def explain(
    prompt: Annotated[str, typer.Argument(help="The prompt.")],
    model: Annotated[str, typer.Option("-m", "--model", help="The router.")],
    url: Annotated[
        str | None, typer.Option(help="URL of the gateway. Defaults to that of the running `pilotfish up`.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Maximum length of an answer, in tokens.", min=1)] = 128,
    as_json: Annotated[bool, typer.Option("--json", help="Print the gateway's JSON.")] = False,
) -> None:
    """Run every stage of a router on a prompt, and print scores, thresholds, costs and the details of the scores."""
    console = Console(highlight=False, soft_wrap=True)
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": max_tokens,
    }
    try:
        explanation = asyncio.run(_ask(gateway_address(url), body))
    except PilotfishError as error:
        console.print(f"error: {error}", markup=False)
        raise typer.Exit(1) from error
    if as_json:
        console.print(orjson.dumps(explanation, option=orjson.OPT_INDENT_2).decode(), markup=False)
    else:
        _print_explanation(console, explanation)


async def _ask(url: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        async with session() as http, http.post(f"{url}/pilotfish/v1/explain", json=body) as answer:
            return await checked(answer)
    except aiohttp.ClientError as error:
        raise ModelUnavailable(f"the gateway at {url} does not answer: {error}: start it, or correct --url") from error


def _print_explanation(console: Console, explanation: dict[str, Any]) -> None:
    console.print(
        f"{explanation['route']} ({explanation['strategy']}): answered by [bold]{explanation['answered_by']}[/]"
    )
    if prediction := explanation.get("prediction"):
        thresholds = ", ".join(f"{pool} from {least}" for pool, least in prediction["thresholds"].items())
        console.print(
            f"score of the prompt: {prediction['score']} ({thresholds}), chosen pool: {prediction['pool']}",
            markup=False,
        )
        _details(console, prediction["details"])
    if warning := explanation.get("warning"):
        console.print(f"warning: {warning}", markup=False)
    for effect in explanation.get("adaptations", ()):
        _effect(console, effect)
    if notes := explanation.get("plugins"):
        console.print("notes of plugins:")
        _details(console, notes)
    table = Table("pool", "verdict", "score", "threshold", "tokens", "seconds", "cost", box=None, pad_edge=False)
    stages = [*explanation["stages"], *explanation.get("alternatives", ())]
    for stage in stages:
        cost = stage.get("cost")
        table.add_row(
            stage["pool"],
            stage["verdict"],
            str(stage.get("score", "")),
            str(stage.get("threshold", "")),
            str(stage.get("completion_tokens", "")),
            str(stage.get("seconds", "")),
            f"{cost['amount']} {cost['currency']}" if cost else "",
        )
    console.print(table)
    for stage in stages:
        console.print(f"\n[bold]{stage['pool']}[/]", end=" ")
        console.print(stage.get("answer") or stage.get("error", ""), markup=False)
        known = {name: stage[name] for name in ("released", "plugin", "reason", "refused", "notes") if name in stage}
        _details(console, {**stage.get("details", {}), **known})


def _effect(console: Console, effect: dict[str, Any]) -> None:
    """What a plugin made of what is asked: the messages that it wrote, and the names of the tools that it left."""
    call = f" in the call of {effect['pool']}" if "pool" in effect else ""
    did = "answers" if "answer" in effect else "changes the request"
    console.print(f"plugin {effect['plugin']} {did}{call}", markup=False)
    written = [effect["messages"][place] for place in effect.get("written", ())]
    details = {f"{message.get('role')} message": message.get("content") or "" for message in written}
    if "tools" in effect:
        names = (tool.get("function", {}).get("name", "") for tool in effect["tools"])
        details["tools"] = ", ".join(names)
    _details(console, {**details, **({"answer": effect["answer"]} if "answer" in effect else {})})


def _details(console: Console, details: dict[str, Any]) -> None:
    for name, value in details.items():
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        console.print(f"  {name}: {text}", markup=False, style="dim")
