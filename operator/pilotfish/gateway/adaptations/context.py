"""How many tokens a plugin can add to a conversation: an estimate, because the gateway has no tokenizer.

A token is estimated as four bytes of the JSON of messages and tools. For the answer the client's `max_tokens` are
reserved or, where it set none, a quarter of the window, at most 1024.
"""

from collections.abc import Iterable

import orjson

from pilotfish.plugin_api.adaptations import Conversation
from pilotfish.routing.snapshot import PoolView

BYTES_PER_TOKEN = 4
MAX_RESERVED = 1024


def smallest_window(views: Iterable[PoolView]) -> int | None:
    """The smallest context window of the pools whose `engine.maxModelLength` is set, None where none is."""
    lengths = [view.pool.engine.max_model_length for view in views]
    return min((length for length in lengths if length is not None), default=None)


def room(conversation: Conversation, window: int | None) -> int | None:
    """Tokens that can be added, at least 0. None without a window."""
    if window is None:
        return None
    used = len(orjson.dumps((conversation.messages, conversation.tools))) // BYTES_PER_TOKEN
    answer = conversation.max_tokens or min(window // 4, MAX_RESERVED)
    return max(0, window - used - answer)
