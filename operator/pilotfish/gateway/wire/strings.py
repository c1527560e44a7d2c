"""Strings that a pool embeds, scores, classifies or counts, as adaptations see them."""

from dataclasses import dataclass
from typing import Self

from pilotfish.base.errors import BadRequest
from pilotfish.plugin_api.adaptations import Conversation, Rewritten


@dataclass(frozen=True)
class Strings:
    """Strings, each of which is one user message."""

    strings: tuple[str, ...]

    @property
    def conversation(self) -> Conversation:
        """What an adaptation sees."""
        return Conversation(tuple({"role": "user", "content": each} for each in self.strings))

    @property
    def answerable(self) -> bool:
        """Whether a string can be the answer: numbers are."""
        return False

    @property
    def hidden(self) -> tuple[str, ...]:
        """Nothing: an adaptation sees every string."""
        return ()

    def rewritten(self, by: Rewritten) -> Self:
        """Other strings. Raises BadRequest for another number of them."""
        strings = tuple(message.get("content") for message in by.messages)
        if len(strings) != len(self.strings):
            raise BadRequest(f"there must be {len(self.strings)} messages, one for each string, not {len(strings)}")
        if not all(isinstance(each, str) for each in strings):
            raise BadRequest("the content of each message must be a string")
        return type(self)(tuple(map(str, strings)))
