"""Threads in which plugins compute. Each plugin has few of its own, so that one that hangs delays only itself."""

import asyncio
import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MOST_THREADS = 4


@dataclass
class PluginThreads:
    """The threads of each plugin, started when it first computes."""

    _threads: dict[str, ThreadPoolExecutor] = field(default_factory=dict)

    async def run(self, owner: str, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """The result of a function, computed in a thread of `owner`."""
        threads = self._threads.get(owner)
        if threads is None:
            most = min(MOST_THREADS, os.cpu_count() or 1)
            threads = self._threads[owner] = ThreadPoolExecutor(most, f"plugin-{owner}")
        return await asyncio.get_running_loop().run_in_executor(threads, partial(function, *arguments, **named))

    def keep(self, owners: Collection[str]) -> None:
        """End the threads of all others, once they have computed what they compute now."""
        for owner in self._threads.keys() - set(owners):
            self._threads.pop(owner).shutdown(wait=False, cancel_futures=True)
