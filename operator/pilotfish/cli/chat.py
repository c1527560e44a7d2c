"""`pilotfish chat`: chats with a model and prints which model answered, and with which score."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import aiohttp
import orjson
import typer
from rich.console import Console

from pilotfish.base.errors import ModelUnavailable, PilotfishError
from pilotfish.cli.client import checked, gateway_address, session

DATA = b"data: "
DONE = b"[DONE]"


def chat(
    prompt: Annotated[
        str | None, typer.Argument(help="Send one prompt and exit. Without it, start a conversation.")
    ] = None,
    model: Annotated[str | None, typer.Option("-m", "--model", help="The model. Defaults to the first router.")] = None,
    url: Annotated[
        str | None, typer.Option(help="URL of the gateway. Defaults to that of the running `pilotfish up`.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Maximum number of tokens of an answer.", min=1)] = 512,
    temperature: Annotated[
        float | None, typer.Option(help="Sampling temperature. 0 chooses the most likely tokens.", min=0, max=2)
    ] = None,
) -> None:
    """Chat with a model. Ctrl-D ends the conversation."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        talk = _Talk(gateway_address(url), console, {"max_tokens": max_tokens, "temperature": temperature})
        asyncio.run(talk.run(prompt, model))
    except PilotfishError as error:
        console.print(f"error: {error}", markup=False)
        raise typer.Exit(1) from error
    except (KeyboardInterrupt, EOFError):
        console.print()


@dataclass
class _Talk:
    url: str
    console: Console
    parameters: dict[str, Any]
    messages: list[dict[str, str]] = field(default_factory=list)

    async def run(self, prompt: str | None, model: str | None) -> None:
        try:
            async with session() as http:
                model = model or await self._first_model(http)
                if prompt is not None:
                    await self._ask(http, model, prompt)
                    return
                self.console.print(f"[dim]{model} at {self.url}, Ctrl-D to exit[/]")
                while True:
                    text = await asyncio.to_thread(self.console.input, "[bold]> [/]")
                    if text.strip():
                        await self._ask(http, model, text)
        except aiohttp.ClientError as error:
            raise ModelUnavailable(
                f"the gateway at {self.url} does not answer: {error}: start it, or correct --url"
            ) from error

    async def _first_model(self, http: aiohttp.ClientSession) -> str:
        async with http.get(f"{self.url}/v1/models") as answer:
            models = (await checked(answer))["data"]
        if not models:
            raise ModelUnavailable(f"the gateway at {self.url} serves no models: add a ModelPool to its manifests")
        ranked = sorted(models, key=lambda entry: (entry["owned_by"] != "pilotfish-router", entry["id"]))
        return str(ranked[0]["id"])

    async def _ask(self, http: aiohttp.ClientSession, model: str, text: str) -> None:
        self.messages.append({"role": "user", "content": text})
        chosen = {name: value for name, value in self.parameters.items() if value is not None}
        options = {"stream": True, "stream_options": {"include_usage": True}}
        body = {"model": model, "messages": self.messages, **chosen, **options}
        parts: list[str] = []
        decision: dict[str, Any] = {}
        async with http.post(f"{self.url}/v1/chat/completions", json=body) as answer:
            if answer.status != 200:
                await checked(answer)
            async for event in _events(answer):
                decision = event.get("pilotfish") or decision
                for choice in event.get("choices", ()):
                    part = choice.get("delta", {}).get("content") or ""
                    parts.append(part)
                    self.console.print(part, end="", markup=False)
            self.console.print()
            self._print_decision(answer.headers, decision)
        self.messages.append({"role": "assistant", "content": "".join(parts)})

    def _print_decision(self, headers: Any, decision: dict[str, Any]) -> None:
        stages = headers.get("x-pilotfish-stages")
        if not stages:
            return
        score = headers.get("x-pilotfish-score")
        escalated = headers.get("x-pilotfish-escalated") == "true"
        facts = [f"pools {stages}", f"score {score}" if score else "", "escalated" if escalated else ""]
        seconds = [
            f"{stage['pool']} {stage['seconds']:.1f} s" for stage in decision.get("stages", ()) if "pool" in stage
        ]
        self.console.print(f"[dim]{', '.join(fact for fact in [*facts, *seconds] if fact)}[/]")


async def _events(answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """Events of a stream. An error event raises ModelUnavailable."""
    async for line in answer.content:
        if not line.startswith(DATA) or line.removeprefix(DATA).strip() == DONE:
            continue
        event = orjson.loads(line.removeprefix(DATA))
        if "error" in event:
            raise ModelUnavailable(event["error"]["message"])
        yield event
