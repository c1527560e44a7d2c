"""What a scorer cannot ask while a log is recorded or evaluated."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from pilotfish.base.errors import ConfigError

P = ParamSpec("P")
T = TypeVar("T")


class OfflineModels:
    """Refuses every call to a pool. A subclass answers those that it can."""

    async def complete(self, role: str, messages: Sequence[Mapping[str, Any]], **parameters: Any) -> Mapping[str, Any]:
        """Raises ConfigError."""
        raise self._refusal(role)

    def stream(self, role: str, messages: Sequence[Mapping[str, Any]], **parameters: Any) -> AsyncIterator[str]:
        """Raises ConfigError."""
        raise self._refusal(role)

    async def embed(self, role: str, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Raises ConfigError."""
        raise self._refusal(role)

    async def score(self, role: str, query: str, texts: Sequence[str]) -> Sequence[float]:
        """Raises ConfigError."""
        raise self._refusal(role)

    async def classify(self, role: str, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Raises ConfigError."""
        raise self._refusal(role)

    async def count_tokens(self, role: str, text: str) -> int:
        """Raises ConfigError."""
        raise self._refusal(role)

    def has(self, role: str) -> bool:
        """False: no pool is there."""
        return False

    async def compute(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """The result of a function, computed in a thread."""
        return await asyncio.to_thread(function, *arguments, **named)

    def _refusal(self, role: str) -> ConfigError:
        return ConfigError(
            "log", f"a scorer asks the pool of role {role!r}, and a log has no answers for it: use another scorer"
        )
