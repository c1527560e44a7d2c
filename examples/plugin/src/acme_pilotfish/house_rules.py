"""`house-rules`: a system message in front of every conversation."""

from typing import Annotated, ClassVar, Self

from pydantic import Field

from pilotfish.api.common import Model
from pilotfish.plugin_api.adaptations import Conversation, Rewritten
from pilotfish.plugin_api.messages import estimate_tokens
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.settings import Settings, read_config


class Config(Model):
    """The settings of `house-rules`."""

    text: Annotated[str, Field(min_length=1)]
    """The system message."""


class HouseRules:
    """Puts a system message in front of every conversation."""

    config_model: ClassVar = Config

    def __init__(self, config: Config) -> None:
        self._text = config.text

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError with the path of the invalid field."""
        return cls(read_config(Config, settings))

    async def on_request(self, *, conversation: Conversation, models: Models) -> Rewritten | None:
        """The conversation with the text as its first message, None without room for it."""
        room = conversation.context_tokens
        if room is not None and room < estimate_tokens(self._text):
            return None
        return Rewritten(({"role": "system", "content": self._text}, *conversation.messages))
