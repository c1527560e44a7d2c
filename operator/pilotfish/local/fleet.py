"""All pools of a run: brought up in order, watched while they serve, updated in place when their manifests change."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, Protocol

import aiohttp

from pilotfish.api import AutoscalingPolicy, ModelPool
from pilotfish.base.errors import PilotfishError, RuntimeFailure
from pilotfish.engine.health import Judgement, Verdict, judge
from pilotfish.local.events import OnEvent, Phase, PoolEvent
from pilotfish.reconcile.engine_reason import worth_retrying
from pilotfish.reconcile.local_plan import Action, LocalPlan, PoolPlan, Wanted, plan
from pilotfish.render.names import engine_deployment, served_model
from pilotfish.render.serve_application import EngineContext, serve_application
from pilotfish.routing.snapshot import Endpoint, Key, PoolState, PoolView
from pilotfish.upstream.probe import probe
from pilotfish.upstream.ray_serve import Application, Replica

POLL_SECONDS = 1.0
"""Between two looks at what Serve says."""
PATIENCE = 20
"""Times in a row that Serve may fail to say anything."""
PROBE_SECONDS = 180.0
"""The first answer of a cold engine on a busy machine takes long."""


class Engines(Protocol):
    """The Ray that engines run on."""

    async def deploy(self, applications: list[Mapping[str, object]]) -> None:
        """Make these the applications."""
        ...

    async def applications(self) -> dict[str, Application]:
        """States of the applications."""
        ...

    def base_url(self, route_prefix: str) -> str:
        """Where an application answers."""
        ...


@dataclass
class Member:
    """One pool of the fleet, what runs for it, and what is known of it."""

    pool: ModelPool
    policy: AutoscalingPolicy | None
    view: PoolView
    context: EngineContext | None = None
    application: dict[str, Any] | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)


Prepare = Callable[[ModelPool, AutoscalingPolicy | None], Awaitable[EngineContext]]
"""Fetches a pool's weights and resolves its secrets."""
Explain = Callable[[str, tuple[Replica, ...]], Awaitable[str]]
"""One line that says why an engine failed, from Serve's message and the logs of replicas."""


class Fleet:
    """Pools on one Ray. `apply` is level-triggered: give it all manifests whenever any changed."""

    def __init__(
        self,
        engines: Engines,
        *,
        prepare: Prepare,
        explain: Explain,
        on_event: OnEvent,
        on_change: Callable[[], None],
        starting: int = 1,
    ) -> None:
        self._engines = engines
        self._prepare = prepare
        self._explain = explain
        self._on_event = on_event
        self._on_change = on_change
        self._members: dict[Key, Member] = {}
        self._wanted = Wanted({}, {})
        self._fetching = asyncio.Lock()
        self._starting = asyncio.Semaphore(starting)
        self._deploying = asyncio.Lock()
        self._states: dict[str, Application] = {}
        self._looked = asyncio.Condition()
        self._looks = 0

    @property
    def views(self) -> tuple[PoolView, ...]:
        """Every pool as the gateway should see it."""
        return tuple(member.view for member in self._members.values())

    async def apply(self, wanted: Wanted, reach: Callable[[ModelPool], Endpoint]) -> LocalPlan:
        """Bring what runs to what is wanted. `reach` makes the endpoint of an external pool. Returns what is done.

        Returns once everything is under way; events tell the rest.
        """
        todo = plan(wanted, self._wanted)
        self._wanted = wanted
        for step in todo.pools:
            if step.action in {Action.REMOVE, Action.RESTART, Action.RESCALE, Action.REST, Action.REACH}:
                await self._leave(step.key)
        gone = [self._members.pop(step.key) for step in todo.pools if step.action is Action.REMOVE]
        for step in todo.pools:
            if step.pool is not None:
                self._take(step, step.pool, reach)
            else:
                self._on_event(PoolEvent(step.key, Phase.REMOVED))
        self._on_change()
        if any(member.application for member in gone) or any(step.action is Action.REST for step in todo.pools):
            await self._deploy()
        return todo

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
            except RuntimeFailure as error:
                failure = error
                await asyncio.sleep(POLL_SECONDS)
        raise failure

    async def stop(self) -> None:
        """Stop looking after the pools. Engines end with their Ray."""
        tasks = [member.task for member in self._members.values() if member.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def begin_again(self) -> None:
        """Bring every pool with an engine up anew: the Ray below them is another one."""
        for key, member in self._members.items():
            if member.task is not None:
                await self._leave(key)
                member.application = None
                member.task = asyncio.create_task(self._tend(key, member), name=f"tend {key}")

    def fail_all(self, reason: str) -> None:
        """Mark every pool that has an engine as failed: the Ray below them is gone."""
        for key, member in self._members.items():
            if member.application:
                self._set(key, member, PoolState.FAILED, Phase.FAILED, reason)

    def _take(self, step: PoolPlan, pool: ModelPool, reach: Callable[[ModelPool], Endpoint]) -> None:
        member = self._members.get(step.key)
        if member is None:
            member = self._members[step.key] = Member(pool, step.policy, PoolView(pool, PoolState.LOADING))
        member.pool, member.policy, member.view = pool, step.policy, replace(member.view, pool=pool)
        if step.action is Action.REACH:
            member.view = PoolView(pool, PoolState.READY, (reach(pool),))
            self._on_event(PoolEvent(step.key, Phase.READY, "external"))
        elif step.action is Action.REST:
            member.application = None
            self._set(step.key, member, PoolState.SCALED_TO_ZERO, Phase.AT_ZERO, "the manifest wants no replica")
        elif step.action in {Action.START, Action.RESTART, Action.RESCALE}:
            if step.action is not Action.RESCALE:
                self._set(step.key, member, PoolState.LOADING, Phase.WAITING, "its engine is not up yet")
            member.task = asyncio.create_task(self._tend(step.key, member), name=f"tend {step.key}")

    async def _leave(self, key: Key) -> None:
        member = self._members.get(key)
        if member is None or member.task is None:
            return
        member.task.cancel()
        await asyncio.wait([member.task])
        member.task = None

    async def _tend(self, key: Key, member: Member) -> None:
        """Bring one pool up, then follow its engine for as long as the pool is wanted as it is."""
        try:
            async with self._fetching:
                member.context = await self._prepare(member.pool, member.policy)
            async with self._starting:
                member.application = serve_application(member.pool, member.context)
                if member.view.state is not PoolState.READY:
                    self._set(key, member, PoolState.LOADING, Phase.LOADING, "its engine is loading")
                await self._deploy()
                await self._follow(key, member, until_settled=True)
            await self._follow(key, member, until_settled=False)
        except PilotfishError as error:
            self._set(key, member, PoolState.FAILED, Phase.FAILED, str(error))
            if member.application:
                member.application = None
                await self._deploy()

    async def _follow(self, key: Key, member: Member, *, until_settled: bool) -> None:
        """Mirror what Serve says into the pool's view; `until_settled` returns once the engine answers or is retried.

        Raises RuntimeFailure with the reason when a first start failed and another try cannot help.
        """
        explained = ""
        looks = self._looks + 2  # a look that is under way now may be older than the deployment
        while True:
            judgement = judge(await self._look(member, looks), engine_deployment(member.pool))
            looks = self._looks + 1
            ready = member.view.state is PoolState.READY
            if judgement.verdict is Verdict.RUNNING and (until_settled or not ready):
                await self._warm(key, member, must=until_settled)
            elif judgement.verdict is Verdict.BROKEN and judgement.message != explained:
                explained = judgement.message
                await self._broken(key, member, judgement, final=judgement.final or until_settled)
            elif judgement.verdict is Verdict.STARTING and ready and not judgement.running:
                self._set(key, member, PoolState.LOADING, Phase.LOADING, "its engine is starting again")
            else:
                continue
            if until_settled:
                return

    async def _broken(self, key: Key, member: Member, judgement: Judgement, *, final: bool) -> None:
        reason = await self._explain(judgement.message, judgement.replicas)
        if judgement.final or (final and not worth_retrying(reason)):
            raise RuntimeFailure(reason)
        self._set(key, member, PoolState.FAILED, Phase.FAILED, reason)

    async def _warm(self, key: Key, member: Member, *, must: bool) -> None:
        """Ask the engine for one token, then call the pool ready. Raises RuntimeFailure if it `must` and does not."""
        self._on_event(PoolEvent(key, Phase.WARMING))
        base_url = self._engines.base_url(member.context.route_prefix if member.context else "/")
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE_SECONDS)) as http:
            try:
                await probe(http, base_url, member.pool.spec.task, served_model(member.pool))
            except RuntimeFailure as error:
                if must:
                    raise
                self._set(key, member, PoolState.FAILED, Phase.FAILED, str(error))
                return
        member.view = PoolView(member.pool, PoolState.READY, (Endpoint(base_url),))
        self._on_event(PoolEvent(key, Phase.READY))
        self._on_change()

    async def _look(self, member: Member, number: int) -> Application | None:
        """What Serve says of the pool, not older than look `number`."""
        async with self._looked:
            await self._looked.wait_for(lambda: self._looks >= number)
            return self._states.get(member.application["name"]) if member.application else None

    async def _deploy(self) -> None:
        """Tell Serve all applications; it leaves alone those that did not change."""
        async with self._deploying:
            await self._engines.deploy([m.application for m in self._members.values() if m.application])

    def _set(self, key: Key, member: Member, state: PoolState, phase: Phase, reason: str) -> None:
        member.view = PoolView(member.pool, state, reason=reason)
        self._on_event(PoolEvent(key, phase, reason))
        self._on_change()
