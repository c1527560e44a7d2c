"""`plugins.py names`: the names of persons that redact masks, as a pool lists them."""

import argparse
import asyncio
import random

import aiohttp

from pilotfish.calibration.recording import Gateway, RecordingModels
from pilotfish.plugin_api.adaptations import Conversation
from pilotfish.plugin_api.settings import Settings
from pilotfish_redact import Redact
from pilotfish_redact.placeholders import Restorer

DESCRIPTION = """The recall of names in generated documents, and other strings that are masked.

    pilotfish up examples/quickstart                                        # in another shell
    python benchmarks/plugins.py names --pool large

The documents are short, and made from templates: names in real documents are harder to find.
"""

FIRST = "Anna Mehmet Li Zoë Giorgos Fatima Björn Chidi Ravi Ines Kofi Mary Sven Yuki Carlos Nadia Tom Siobhán Ali Grace"
LAST = (
    "Schmidt Kaya Wang Dubois Papadopoulos Haddad Lindqvist Okafor Sharma Costa Mensah Baker Young Rose Tanaka García "
    "Petrova O'Connor Rahman Hill"
)
STORIES = (
    "{name} called on Monday about the invoice of Acme Corp.",
    "Hello Mr {last}, thank you for your letter from Berlin. Regards, {name}",
    "Bitte leiten Sie die Rechnung an Frau {last} weiter, {name} ist im Urlaub.",
    "The contract was signed by {name} and checked by the Legal department in May.",
    "Le dossier de {name} est complet, sauf la facture de Lyon.",
    "From: {name}\nTo: Support\nThe printer on the third floor of Kent House is broken.",
    "meeting notes: {name} wants the Python service moved to Azure, {other} does not",
    "Patient {name} was seen by Dr {other} on Friday.",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pool", required=True, help="the Generate pool that lists names")
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the gateway, or another server")


def run(options: argparse.Namespace) -> None:
    asyncio.run(measure(options))


async def measure(options: argparse.Namespace) -> None:
    draw = random.Random(options.seed)
    redact = Redact.from_settings(Settings({"kinds": ["Name"]}))
    whole = parts = left = others = 0
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=600)) as http:
        models = RecordingModels(Gateway(http, options.url), {"names": options.pool})
        for _ in range(options.documents):
            first, last, other = draw.choice(FIRST.split()), draw.choice(LAST.split()), draw.choice(LAST.split())
            text = draw.choice(STORIES).format(name=f"{first} {last}", last=last, other=other)
            asked = Conversation(({"role": "user", "content": text},))
            sent = await redact.on_request(conversation=asked, models=models)
            state = getattr(sent, "state", None)
            masked = set(state.values.values()) if isinstance(state, Restorer) else set()
            content = text if sent is None else sent.messages[0]["content"]
            names = {first, last, *({other} if other in text else ())}
            whole += f"{first} {last}" not in content
            parts += len(names)
            left += sum(name in content for name in names)
            others += sum(not set(value.split()) <= names for value in masked)
    print(f"pool {options.pool}, {options.documents} documents, seed {options.seed}")
    print(f"full names masked: {whole} of {options.documents} ({whole / options.documents:.1%})")
    print(f"parts of names left: {left} of {parts} ({left / parts:.1%})")
    print(f"other strings masked: {others}")
