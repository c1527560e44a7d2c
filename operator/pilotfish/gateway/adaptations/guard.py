"""Calls plugins: bounded in time, size and in how long they block the event loop, with metrics of each."""

import asyncio
import logging
import resource
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from time import perf_counter
from typing import Any, Generic, Self, TypeVar

from pilotfish.api import AdaptationPlugin
from pilotfish.api.adaptationplugin import FailurePolicy
from pilotfish.base.errors import PluginError, PluginFailed, RequestError, RequestRefused
from pilotfish.gateway.adaptations.watchdog import Step
from pilotfish.plugin_api.adaptations import Adaptation, Declaration, Escalate, OnAnswer, OnRequest
from pilotfish.plugins.chain_digests import Identity
from pilotfish.telemetry.metrics import GatewayMetrics

logger = logging.getLogger(__name__)

T = TypeVar("T")

NOTICED_SECONDS = 0.1
"""A plugin that blocks the event loop for this long is logged."""
BLOCKED_SECONDS = 1.0
"""A plugin that blocks the event loop for this long has failed."""
LOGGED_EVERY_SECONDS = 60.0
THREAD = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)
"""What is measured: the thread of the event loop, or the process where the system measures no threads."""
MAX_MESSAGE_CHARACTERS = 4096
"""The reason or message of a plugin's result."""


class Hook(StrEnum):
    """What is called of a plugin."""

    ON_REQUEST = "OnRequest"
    ON_ANSWER = "OnAnswer"
    PUSH = "Push"
    END = "End"


class Fault(StrEnum):
    """Why a plugin failed."""

    TIMEOUT = "Timeout"
    RAISED = "Raised"
    INVALID = "Invalid"
    TOO_MUCH = "TooMuch"
    BLOCKED = "Blocked"
    CALL = "Call"


class PluginFault(Exception):
    """A plugin broke the contract."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


class Escalated(Exception):
    """A plugin asks for the answer of the next pool."""

    def __init__(self, plugin: str, escalate: Escalate) -> None:
        super().__init__(f"plugin {plugin!r}: {escalate.reason}")
        self.plugin = plugin
        self.reason = escalate.reason
        self.notes = escalate.notes


def checked_message(message: object) -> str:
    """The reason or message of a plugin's result. Raises PluginFault where it is no string, or too long."""
    if not isinstance(message, str):
        raise PluginFault(Fault.INVALID, f"returned a message that is {type(message).__name__}, not a string")
    if len(message) > MAX_MESSAGE_CHARACTERS:
        raise PluginFault(Fault.TOO_MUCH, f"returned a message of more than {MAX_MESSAGE_CHARACTERS} characters")
    return message


@dataclass(frozen=True)
class BoundAdaptation:
    """An adaptation of one router: its manifest, and what the loaded plugin implements and declares."""

    manifest: AdaptationPlugin
    declaration: Declaration
    on_request: OnRequest | None
    on_answer: OnAnswer | None
    identity: Identity

    @classmethod
    def of(cls, manifest: AdaptationPlugin, plugin: Adaptation, identity: Identity) -> Self:
        """The adaptation of a loaded plugin. `identity`: what its effect depends on.

        Raises UnsafePolicy for a plugin that protects where its failure would be ignored, and PluginError for a wrong
        declaration.
        """
        check_policy(manifest, plugin)
        try:
            declaration = Declaration.of(plugin)
        except TypeError as error:
            raise PluginError(f"the plugin {manifest.spec.type} is not valid: {error}") from error
        asked = plugin if isinstance(plugin, OnRequest) else None
        return cls(manifest, declaration, asked, plugin if isinstance(plugin, OnAnswer) else None, identity)

    @property
    def name(self) -> str:
        """The name of the AdaptationPlugin."""
        return self.manifest.name

    @property
    def required(self) -> bool:
        """Whether a request fails where the plugin fails."""
        return self.manifest.spec.failure_policy is FailurePolicy.FAIL

    @property
    def protects(self) -> bool:
        """Whether no request may pass without the adaptation."""
        return self.declaration.protects

    @property
    def timeout_seconds(self) -> float:
        """The longest that a call of the plugin may take."""
        return self.manifest.spec.timeout_seconds

    @property
    def roles(self) -> Mapping[str, str]:
        """The pool of each role."""
        return {ref.role: ref.name for ref in self.manifest.spec.pool_refs}


class UnsafePolicy(PluginError):
    """The failurePolicy of a plugin that protects is Ignore: its router must not answer."""


def check_policy(manifest: AdaptationPlugin, plugin: object) -> None:
    """Raises UnsafePolicy for a plugin that protects where its failure would be ignored. `plugin`: or its class."""
    if getattr(plugin, "protects", False) and manifest.spec.failure_policy is FailurePolicy.IGNORE:
        raise UnsafePolicy(
            f"spec.failurePolicy: {manifest.spec.type} protects, so no request may be answered without it: set Fail"
        )


@dataclass
class PluginGuard:
    """Calls plugins for all requests of a gateway."""

    metrics: GatewayMetrics
    _logged: dict[str, float] = field(default_factory=dict)
    present: Step | None = None
    """The step of a plugin that runs now."""
    _inside: float = 0.0
    """Seconds of the present step of a plugin that steps of other plugins inside it took."""

    async def call(
        self, adaptation: BoundAdaptation, hook: Hook, made: Callable[[], Awaitable[T]], seconds: float | None = None
    ) -> T:
        """The result of what `made` does with the plugin, within `seconds` (None: its timeout).

        Raises PluginFailed where that raises, takes longer, or blocks the event loop. Refused and Escalated pass
        through.
        """
        limit = adaptation.timeout_seconds if seconds is None else seconds
        steps = _Steps(self, adaptation.name, _awaited(made))
        started = perf_counter()
        try:
            if steps.waits():  # most calls return at once, and need no timer
                async with asyncio.timeout(limit):
                    await steps
            result = steps.result()
        except TimeoutError as error:
            text = f"did not return within its timeoutSeconds, {adaptation.timeout_seconds:.0f}"
            raise self.failed(adaptation, Fault.TIMEOUT, text) from error
        except (RequestRefused, Escalated):
            raise
        except PluginFault as error:
            raise self.failed(adaptation, error.fault, str(error)) from error
        except RequestError as error:
            raise self.failed(adaptation, Fault.CALL, f"cannot go on: {error.message}") from error
        except Exception as error:
            logger.exception("plugin %s failed", adaptation.name)
            text = f"failed with {type(error).__name__}: see the gateway's log"
            raise self.failed(adaptation, Fault.RAISED, text) from error
        finally:
            self.metrics.plugin_seconds.labels(adaptation.name, hook.value).observe(perf_counter() - started)
        return result

    def failed(self, adaptation: BoundAdaptation, fault: Fault, text: str) -> PluginFailed:
        """The failure of a plugin, counted."""
        self.metrics.plugin_failures.labels(adaptation.name, fault.value).inc()
        return PluginFailed(f"plugin {adaptation.name!r} {text}")

    def step(self, plugin: str, step: Callable[[], T]) -> tuple[T | None, StopIteration | None, float]:
        """Run one step of a plugin's coroutine, and measure how long it blocks the event loop."""
        outer, self._inside = self._inside, 0.0
        before, started = resource.getrusage(THREAD), perf_counter()
        around, self.present = self.present, Step(plugin, started)
        value, stopped = None, None
        try:
            value = step()
        except StopIteration as stop:
            stopped = stop
        finally:
            self.present = around
            took = perf_counter() - started
            if took > NOTICED_SECONDS:
                took = _used(before, took)
            own, self._inside = took - self._inside, outer + took
            if own > NOTICED_SECONDS:
                self._notice(plugin, own)
        return value, stopped, own

    def _notice(self, plugin: str, seconds: float) -> None:
        self.metrics.plugin_blocked_seconds.labels(plugin).inc(seconds)
        now = perf_counter()
        if now - self._logged.get(plugin, -LOGGED_EVERY_SECONDS) >= LOGGED_EVERY_SECONDS:
            self._logged[plugin] = now
            logger.warning(
                "plugin %s blocked the event loop for %.0f ms, which delays every request: it should use "
                "Models.compute. It is not logged again within %.0f s",
                plugin,
                1000 * seconds,
                LOGGED_EVERY_SECONDS,
            )


class _Steps(Generic[T]):
    """A coroutine of a plugin, step by step: from one time that it waits to the next one."""

    def __init__(self, guard: PluginGuard, plugin: str, coroutine: Coroutine[Any, Any, T]) -> None:
        self._guard = guard
        self._plugin = plugin
        self._coroutine = coroutine
        self._blocked = 0.0
        self._yielded: Any = None
        self._stopped: StopIteration | None = None

    def waits(self) -> bool:
        """Run the first step. Returns whether there are more."""
        self._run(partial(self._coroutine.send, None))
        return self._stopped is None

    def result(self) -> T:
        """The result after the last step. Raises PluginFault if a step blocked the event loop for too long."""
        if self._stopped is None:
            raise RuntimeError("the coroutine has not ended")
        if self._blocked > BLOCKED_SECONDS:
            text = f"blocked the gateway's event loop for {self._blocked:.1f} s: it should use Models.compute"
            raise PluginFault(Fault.BLOCKED, text)
        result: T = self._stopped.value
        return result

    def __await__(self) -> Generator[Any, Any, None]:
        while self._stopped is None:
            step: Callable[[], Any]
            try:
                step = partial(self._coroutine.send, (yield self._yielded))
            except BaseException as error:  # noqa: BLE001 - it is raised in the coroutine
                step = partial(self._coroutine.throw, error)
            self._run(step)

    def _run(self, step: Callable[[], Any]) -> None:
        self._yielded, self._stopped, seconds = self._guard.step(self._plugin, step)
        self._blocked = max(self._blocked, seconds)


def _used(before: resource.struct_rusage, seconds: float) -> float:
    """Of the seconds since `before`, those for which the thread computed, or all if it waited.

    The rest is not the plugin's: the machine ran something else.
    """
    after = resource.getrusage(THREAD)
    if after.ru_nvcsw > before.ru_nvcsw:
        return seconds
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


async def _awaited(made: Callable[[], Awaitable[T]]) -> T:
    return await made()
