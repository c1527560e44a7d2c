"""Which places of a bounded KV cache belong to which request."""

from collections import OrderedDict
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field

BLOCK = 16
"""Tokens of a block, the unit of allocation."""


@dataclass
class Held:
    """The tokens of a request whose keys and values are in the cache, and the blocks that hold them."""

    tokens: list[int] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)

    def places(self, begin: int, end: int) -> list[int]:
        """The places in the cache of the tokens `begin` to `end`, exclusive."""
        return [self.blocks[at // BLOCK] * BLOCK + at % BLOCK for at in range(begin, end)]

    def keep(self, tokens: Sequence[int]) -> int:
        """Forget what is held behind the common prefix with `tokens`. Returns the length of that prefix.

        At most one less than there are tokens, because the last one has to be computed for its logits.
        """
        common = len(self.tokens)
        if list(tokens[:common]) != self.tokens:
            pairs = zip(self.tokens, tokens, strict=False)
            common = next((at for at, (held, wanted) in enumerate(pairs) if held != wanted), len(tokens))
        common = min(common, len(tokens) - 1)
        del self.tokens[common:]
        return common


class Blocks:
    """Hands out the blocks of a cache. If none is free, the request that was used longest ago loses its own."""

    def __init__(self, tokens: int) -> None:
        self.count = -(-tokens // BLOCK)
        self._free = list(range(self.count))
        self._held: OrderedDict[Hashable, Held] = OrderedDict()
        self.evicted = 0
        """Requests that lost their blocks before they ended."""

    @property
    def used(self) -> int:
        """Blocks that belong to requests."""
        return self.count - len(self._free)

    def fit(self, lengths: Sequence[int]) -> int:
        """How many of the requests with these numbers of tokens fit into the cache at once, from the first one on."""
        total = 0
        for number, length in enumerate(lengths):
            total += _blocks(length)
            if total > self.count:
                return number
        return len(lengths)

    def take(self, request: Hashable, length: int, beside: Collection[Hashable]) -> Held:
        """What is held for a request, with blocks for `length` tokens. Requests in `beside` keep theirs.

        Raises MemoryError if the requests in `beside` leave too few.
        """
        held = self._held.setdefault(request, Held())
        self._held.move_to_end(request)
        missing = _blocks(length) - len(held.blocks)
        while missing > len(self._free):
            victim = next((each for each in self._held if each not in beside and each is not request), None)
            if victim is None:
                raise MemoryError(f"a cache of {self.count * BLOCK} tokens is too small for the requests of one step")
            self.evicted += 1
            self.release(victim)
        held.blocks += [self._free.pop() for _ in range(missing)]
        return held

    def release(self, request: Hashable) -> None:
        """Free the blocks of a request, if it has any."""
        if held := self._held.pop(request, None):
            self._free += held.blocks


def _blocks(tokens: int) -> int:
    return -(-tokens // BLOCK)
