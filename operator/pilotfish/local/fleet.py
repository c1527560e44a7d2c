"""All pools of a run: brought up in order, watched while they serve, updated in place when their manifests change."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, Protocol

import aiohttp

from pilotfish.api import AutoscalingPolicy, ModelPool
from pilotfish.base.backoff import backoff_seconds
from pilotfish.base.errors import EngineFailed, PilotfishError, RuntimeFailure, Unavailable
from pilotfish.base.keys import Key
from pilotfish.engine.health import EngineHealth, Judgement, judge
from pilotfish.local.events import OnEvent, Phase, PoolEvent
from pilotfish.local.fetching import Files
from pilotfish.local.member import Member
from pilotfish.reconcile.local_plan import Action, LocalPlan, PoolPlan, Wanted, plan
from pilotfish.render.serve_application import EngineContext, engine_deployment, serve_application, served_model
from pilotfish.routing.snapshot import Endpoint, PoolState, PoolView
from pilotfish.upstream.probe import probe
from pilotfish.upstream.ray_serve import Application, Replica

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""Seconds between two reads of Serve's state."""
PATIENCE = 20
"""Times in a row that Serve may fail to answer."""
PROBE_SECONDS = 180.0
"""Timeout of the first answer, seconds. A new engine on a busy machine is slow."""
FIRST_RETRY_SECONDS = 2.0
"""Seconds before the second try, doubled before each later one."""
MOST_RETRY_SECONDS = 60.0
CORES_PER_START = 4
"""Cores that one more engine needs to start beside another."""
MOST_COMING_UP = 1000
"""Pools that come up at once on many cores: as many as there are."""
UNKNOWN_LOOKS = 30
"""Reads in a row in which Serve may not know a deployed application."""

_WITHOUT_ENGINE = frozenset({Action.REMOVE, Action.REST, Action.REACH})


class Engines(Protocol):
    """The Ray that engines run on."""

    async def up(self) -> None:
        """Return once Ray is up, which starts with the first call."""
        ...

    async def deploy(self, applications: list[Mapping[str, object]]) -> None:
        """Deploy these applications. Raises Unavailable at once while Ray is down."""
        ...

    async def applications(self) -> dict[str, Application]:
        """States of the applications."""
        ...

    def base_url(self, route_prefix: str) -> str:
        """Where an application answers."""
        ...


Prepare = Callable[[ModelPool, AutoscalingPolicy | None], Awaitable[EngineContext]]
"""Fetches a pool's weights and resolves its secrets."""
Explain = Callable[[str, tuple[Replica, ...]], Awaitable[EngineFailed]]
"""Why an engine failed, from Serve's message and the logs of replicas."""
ListFiles = Callable[[ModelPool], Awaitable[Files]]
"""The files of this machine that a pool names."""
FilesChanged = Callable[[ModelPool, Files], Awaitable[None]]
"""Returns once those files are others than these."""


class Fleet:
    """Pools on one Ray. `apply` is level-triggered: give it all manifests whenever any changed."""

    def __init__(
        self,
        engines: Engines,
        *,
        prepare: Prepare,
        explain: Explain,
        files: ListFiles,
        files_changed: FilesChanged,
        on_event: OnEvent,
        on_change: Callable[[], None],
        cores: int = 1,
    ) -> None:
        """One engine loads at a time for every `CORES_PER_START` of `cores`, and no weights are converted meanwhile."""
        self._engines = engines
        self._prepare = prepare
        self._explain = explain
        self._files = files
        self._files_changed = files_changed
        self._on_event = on_event
        self._on_change = on_change
        self._members: dict[Key, Member] = {}
        self._wanted = Wanted({}, {})
        self._fetching = asyncio.Lock()
        self._starting = asyncio.Semaphore(max(1, cores // CORES_PER_START))
        # On few cores the conversion of one pool's weights would starve the start of another's engine.
        self._coming_up = asyncio.Semaphore(1 if cores <= CORES_PER_START else MOST_COMING_UP)
        self._deploying = asyncio.Lock()
        self._changing = asyncio.Lock()
        self._states: dict[str, Application] = {}
        self._looked = asyncio.Condition()
        self._looks = 0

    @property
    def views(self) -> tuple[PoolView, ...]:
        """Every pool as the gateway should see it."""
        return tuple(replace(member.view, hold_seconds=member.hold_seconds) for member in self._members.values())

    def scaling_to_zero(self) -> dict[Key, Member]:
        """The pools whose engine stops while they have no request."""
        return {key: member for key, member in self._members.items() if member.hold_seconds is not None}

    def weights(self, key: Key) -> Path | None:
        """The folder of a pool's weights, None while it is not known and for an external pool."""
        member = self._members.get(key)
        return Path(member.context.weights) if member and member.context else None

    async def apply(self, wanted: Wanted, reach: Callable[[ModelPool], Endpoint]) -> LocalPlan:
        """Bring what runs to what is wanted. `reach` makes the endpoint of an external pool. Returns what is done.

        Returns when everything has been started. Events report the progress.
        """
        async with self._changing:
            todo = plan(wanted, self._wanted)
            todo = LocalPlan(tuple(self._again_if_failed(step) for step in todo.pools))
            self._wanted = wanted
            for step in todo.pools:
                if step.action is not Action.KEEP:
                    await self._leave(step.key)
            without = [step.key for step in todo.pools if step.action in _WITHOUT_ENGINE]
            withdrawn = [key for key in without if self._withdraw(key)]
            for step in todo.pools:
                if step.pool is not None:
                    self._take(step, step.pool, reach)
                else:
                    del self._members[step.key]
                    self._on_event(PoolEvent(step.key, Phase.REMOVED))
            self._on_change()
        if withdrawn:
            await self._redeploy()
        return todo

    def _again_if_failed(self, step: PoolPlan) -> PoolPlan:
        """A failed pool is tried again when its manifest changed, or anything did if its files were at fault."""
        member = self._members.get(step.key)
        if member is None or step.action is not Action.KEEP or member.view.state is not PoolState.FAILED:
            return step
        changed = member.context is None or (member.pool, member.policy) != (step.pool, step.policy)
        return replace(step, action=Action.RESTART) if changed else step

    async def watch(self) -> NoReturn:
        """Follow what Serve says until cancelled. Raises RuntimeFailure when Ray stops answering altogether."""
        while True:
            self._surface_crashes()
            if any(member.application for member in self._members.values()):
                states = await self._ask()
                async with self._looked:
                    self._states = states
                    self._looks += 1
                    self._looked.notify_all()
            await asyncio.sleep(POLL_SECONDS)

    def _surface_crashes(self) -> None:
        """Raise what ended the care for a pool and is no fault of its manifest or engine: a bug."""
        for member in self._members.values():
            if member.task and member.task.done() and not member.task.cancelled():
                member.task.result()

    async def _ask(self) -> dict[str, Application]:
        for _ in range(PATIENCE):
            try:
                return await self._engines.applications()
            except Unavailable as error:
                failure = error
                logger.warning("%s\n%s", error, error.details)
                await asyncio.sleep(POLL_SECONDS)
        raise failure

    async def stop(self) -> None:
        """Stop looking after the pools. Engines end with their Ray."""
        tasks = [member.task for member in self._members.values() if member.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def begin_again(self) -> None:
        """Start every pool with an engine again, because its Ray was replaced."""
        async with self._changing:
            again = [(key, member) for key, member in self._members.items() if member.task is not None]
            for key, member in again:
                await self._leave(key)
                member.application = None
            for key, member in again:
                member.task = asyncio.create_task(self._tend(key, member), name=f"tend {key}")

    async def rest(self, key: Key, reason: str) -> None:
        """Stop the engine of a pool until `wake`."""
        async with self._changing:
            member = self._members.get(key)
            if member is None:
                return
            await self._leave(key)
            withdrawn = self._withdraw(key)
            self._set(key, member, PoolState.SCALED_TO_ZERO, Phase.AT_ZERO, reason)
        if withdrawn:
            await self._redeploy()

    async def wake(self, key: Key) -> None:
        """Start the engine of a pool that rests."""
        async with self._changing:
            member = self._members.get(key)
            if member is None or member.task is not None:
                return
            self._set(key, member, PoolState.LOADING, Phase.WAITING, "requests wait for its engine")
            member.task = asyncio.create_task(self._tend(key, member), name=f"tend {key}")

    def interrupt(self, reason: str) -> None:
        """Set every pool with an engine to not ready, because its Ray has ended and another one starts."""
        for key, member in self._members.items():
            if member.application:
                self._set(key, member, PoolState.LOADING, Phase.WAITING, reason)

    def _take(self, step: PoolPlan, pool: ModelPool, reach: Callable[[ModelPool], Endpoint]) -> None:
        member = self._members.get(step.key)
        if member is None:
            member = self._members[step.key] = Member(pool, step.policy, PoolView(pool, PoolState.LOADING))
        member.pool, member.policy, member.view = pool, step.policy, replace(member.view, pool=pool)
        if step.action is Action.REACH:
            member.view = PoolView(pool, PoolState.READY, (reach(pool),))
            self._on_event(PoolEvent(step.key, Phase.READY, "external"))
        elif step.action is Action.REST:
            self._set(step.key, member, PoolState.SCALED_TO_ZERO, Phase.AT_ZERO, "the manifest wants no replica")
        elif step.action in {Action.START, Action.RESTART, Action.RESCALE}:
            if step.action is not Action.RESCALE:
                self._set(step.key, member, PoolState.LOADING, Phase.WAITING, "its engine is not up yet")
            member.task = asyncio.create_task(self._tend(step.key, member), name=f"tend {step.key}")

    def _withdraw(self, key: Key) -> bool:
        """Want no application of a pool any more. Returns whether it had one."""
        member = self._members.get(key)
        if member is None or member.application is None:
            return False
        member.application = None
        return True

    async def _leave(self, key: Key) -> None:
        member = self._members.get(key)
        if member is None or member.task is None:
            return
        member.task.cancel()
        await asyncio.wait([member.task])
        member.task = None

    async def _tend(self, key: Key, member: Member) -> None:
        """Keep one pool up for as long as it is wanted as it is: a start that failed is tried again, with backoff."""
        while True:
            try:
                await self._run(key, member)
            except PilotfishError as error:
                await self._recover(key, member, error)

    async def _run(self, key: Key, member: Member) -> NoReturn:
        """Bring one pool up, then follow its engine. Raises PilotfishError when that failed."""
        async with self._coming_up:
            async with self._fetching:
                member.context = None
                member.files = await self._files(member.pool)
                member.context = await self._prepare(member.pool, member.policy)
            async with self._starting:
                member.application = serve_application(member.pool, member.context)
                if member.view.state is not PoolState.READY:
                    self._set(key, member, PoolState.LOADING, Phase.LOADING, "its engine is loading")
                await self._engines.up()
                await self._deploy()
                await self._until_ready(key, member)
        await self._follow(key, member)

    async def _recover(self, key: Key, member: Member, error: PilotfishError) -> None:
        """Return when to try again: after a delay, or, for a permanent error, when the pool's files changed."""
        reason = str(error)
        lasting = error.transient is False or (error.transient is None and reason == member.failure)
        member.tries, member.failure = member.tries + 1, reason
        logger.warning("%s: try %d failed: %s\n%s", member.pool.name, member.tries, reason, error.details)
        if member.application and (lasting or isinstance(error, EngineFailed)):
            # what failed makes way for the next
            member.application = None
            await self._redeploy()
        if lasting:
            self._set(key, member, PoolState.FAILED, Phase.FAILED, reason)
            await self._files_changed(member.pool, member.files)
            member.tries = 0
            self._set(key, member, PoolState.LOADING, Phase.WAITING, "its files have changed")
            return
        seconds = backoff_seconds(member.tries, first=FIRST_RETRY_SECONDS, most=MOST_RETRY_SECONDS)
        again = f"try {member.tries + 1} in {seconds:.0f} s: {reason}"
        self._set(key, member, PoolState.LOADING, Phase.RETRYING, again)
        await asyncio.sleep(seconds)

    async def _until_ready(self, key: Key, member: Member) -> None:
        """Return once the engine has answered. Raises RuntimeFailure when it failed."""
        async for judgement in self._judgements(member):
            if judgement.verdict is EngineHealth.BROKEN:
                raise await self._explain(judgement.message, judgement.replicas)
            if judgement.verdict is EngineHealth.RUNNING:
                await self._warm(key, member)
                return

    async def _follow(self, key: Key, member: Member) -> NoReturn:
        """Mirror what Serve reports into the view of a pool that was ready. Raises EngineFailed when Serve gave up."""
        explained = ""
        async for judgement in self._judgements(member):
            ready = member.view.state is PoolState.READY
            if judgement.verdict is EngineHealth.RUNNING and not ready:
                await self._warm(key, member)
            elif judgement.verdict is EngineHealth.BROKEN and judgement.message != explained:
                explained = judgement.message
                failure = await self._explain(judgement.message, judgement.replicas)
                if judgement.final:
                    raise failure
                logger.warning("%s: %s\n%s", member.pool.name, failure, failure.details)
                self._set(key, member, PoolState.LOADING, Phase.LOADING, f"its engine is starting again: {failure}")
            elif judgement.verdict is EngineHealth.STARTING and ready and not judgement.running:
                self._set(key, member, PoolState.LOADING, Phase.LOADING, "its engine is starting again")
        raise AssertionError("judgements do not end")

    async def _judgements(self, member: Member) -> AsyncIterator[Judgement]:
        """What Serve reports of the pool's engine, at every look. Raises Unavailable when Serve does not know it."""
        unknown = 0
        look = self._looks + 2  # a look that is under way now may be older than the deployment
        while True:
            application = await self._look(member, look)
            look = self._looks + 1
            unknown = 0 if application else unknown + 1
            if unknown > UNKNOWN_LOOKS:
                raise Unavailable("Serve does not list the application that was deployed")
            yield judge(application, engine_deployment(member.pool))

    async def _warm(self, key: Key, member: Member) -> None:
        """Ask the engine for one token, then call the pool ready. Raises RuntimeFailure when no answer comes."""
        self._on_event(PoolEvent(key, Phase.WARMING))
        base_url = self._engines.base_url(member.context.route_prefix if member.context else "/")
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE_SECONDS)) as http:
            await probe(http, base_url, member.pool.spec.task, served_model(member.pool))
        member.tries, member.failure = 0, ""
        member.view = PoolView(member.pool, PoolState.READY, (Endpoint(base_url),))
        self._on_event(PoolEvent(key, Phase.READY))
        self._on_change()

    async def _look(self, member: Member, number: int) -> Application | None:
        """What Serve reports about the pool, not older than read `number`."""
        async with self._looked:
            await self._looked.wait_for(lambda: self._looks >= number)
            return self._states.get(member.application["name"]) if member.application else None

    async def _deploy(self) -> None:
        """Deploy all applications. Serve does not touch unchanged ones."""
        async with self._deploying:
            await self._engines.deploy([m.application for m in self._members.values() if m.application])

    async def _redeploy(self) -> None:
        """Delete applications that are no longer wanted. If that fails, the next deployment of any pool does it.

        A Ray that is down has none, and the next one begins without any.
        """
        try:
            await self._deploy()
        except RuntimeFailure as error:
            logger.warning("%s\n%s", error, error.details)

    def _set(self, key: Key, member: Member, state: PoolState, phase: Phase, reason: str) -> None:
        member.view = PoolView(member.pool, state, reason=reason)
        self._on_event(PoolEvent(key, phase, reason))
        self._on_change()
