"""`house-rules`: a system message in front of every conversation."""

from dataclasses import dataclass
from typing import Self

from pilotfish.api.common import Model
from pilotfish.plugin_api.adaptations import Conversation, Rewritten
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.settings import Settings, read_config


class Config(Model):
    """The `text` of the system message."""

    text: str


@dataclass(frozen=True)
class HouseRules:
    """Puts a system message in front of every conversation."""

    text: str

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError with the path of the invalid field."""
        return cls(read_config(Config, settings).text)

    async def on_request(self, *, conversation: Conversation, models: Models) -> Rewritten:
        """The conversation with the text as its first message."""
        return Rewritten(messages=({"role": "system", "content": self.text}, *conversation.messages))
