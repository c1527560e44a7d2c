"""An adaptation that prepares: it stores its documents in upper case, and puts one in front of a conversation."""

import json
from importlib.metadata import EntryPoint
from typing import Any, ClassVar, Self

from pilotfish.plugin_api.adaptations import Conversation, Rewritten
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.preparing import Documents, Prepared, Progress, Workspace
from pilotfish.plugin_api.settings import Settings
from pilotfish.plugins.extension_points import ADAPTATIONS
from pilotfish.plugins.registry import Installed, Registry


class Shouting:
    """Adaptation `shouting`: `config.fail` makes `prepare` raise, `config.embed` asks a pool."""

    prepared_format: ClassVar[int] = 1

    def __init__(self, settings: Settings) -> None:
        self.config = settings.config
        self.prepared = settings.prepared
        self.text = (self.prepared / "all.json").read_text() if self.prepared else ""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls(settings)

    async def prepare(self, *, documents: Documents, into: Workspace, models: Models, progress: Progress) -> Prepared:
        if self.config.get("fail"):
            raise RuntimeError(self.config["fail"])
        shouted: dict[str, Any] = {}
        for done, document in enumerate(documents):
            name = f"shards/{document.revision}"
            if not into.has(name):
                into.write(name, documents.read(document).upper())
            shouted[document.path] = (into.path / name).read_text()
            progress(done + 1, len(documents), "shouting")
        if self.config.get("embed"):
            shouted["vectors"] = [
                list(map(float, row)) for row in await models.embed("embedder", list(shouted.values()))
            ]
        (into.path / "all.json").write_text(json.dumps(shouted))
        return Prepared(len(documents), {"letters": len(json.dumps(shouted))})

    async def on_request(self, *, conversation: Conversation, models: Models) -> Rewritten:
        return Rewritten(({"role": "system", "content": self.text}, *conversation.messages))


def registry(plugin: type = Shouting, version: str = "1.0") -> Registry:
    """What is installed, and `shouting`."""
    point = EntryPoint("shouting", f"{plugin.__module__}:{plugin.__qualname__}", ADAPTATIONS.group)
    return Registry([*Registry.installed().entries(), Installed(ADAPTATIONS.group, "shouting", "acme", version, point)])
