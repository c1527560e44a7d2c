"""One pool of a local run: what runs for it, and what is known of it."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from pilotfish.api import AutoscalingPolicy, ModelPool
from pilotfish.local.fetching import Files
from pilotfish.reconcile import scaling
from pilotfish.render.serve_application import EngineContext
from pilotfish.routing.snapshot import PoolView


@dataclass
class Member:
    """One pool of the fleet, what runs for it, and what is known of it."""

    pool: ModelPool
    policy: AutoscalingPolicy | None
    view: PoolView
    context: EngineContext | None = None
    application: dict[str, Any] | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)
    tries: int = 0
    """That failed since the engine last answered."""
    failure: str = ""
    """Why the last of them did."""
    files: Files = field(default_factory=dict, repr=False)
    """Those of the pool before the last try."""

    @property
    def hold_seconds(self) -> int | None:
        """How long requests wait for the engine of a pool that scales to zero."""
        return scaling.hold_seconds(lambda _: self.policy, self.pool) if not self.pool.spec.external else None
