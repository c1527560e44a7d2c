"""`pilotfish plan`: what `pilotfish up` would run, and the memory and GPUs that it needs."""

import os

from rich.console import Console
from rich.table import Table

from pilotfish.api import ModelRouter
from pilotfish.cli.display import pool_name
from pilotfish.cli.local_options import Paths, load_or_exit, where
from pilotfish.local.run import wanted_of
from pilotfish.local.sizes import sizes_of
from pilotfish.reconcile.local_plan import GIB, RAY_BYTES, LocalPlan, PoolPlan, Wanted
from pilotfish.reconcile.local_plan import plan as make_plan


def plan(paths: Paths) -> None:
    """Print the pools in their order of start, the routers, and the memory and GPUs that `pilotfish up` needs."""
    console = Console(highlight=False, soft_wrap=True)
    loaded = load_or_exit(paths, Console(stderr=True, highlight=False, soft_wrap=True))
    wanted = wanted_of(loaded)
    planned = make_plan(wanted, Wanted({}, {}), sizes_of(wanted.pools.values()))
    console.print(_pools(planned))
    routers = [resource for resource in loaded.resources if isinstance(resource, ModelRouter)]
    if routers:
        console.print(_routers(routers, wanted))
    memory = f"{planned.memory_bytes / GIB:.1f} GiB of memory ({RAY_BYTES / GIB:.0f} GiB of it for Ray and the gateway)"
    console.print(f"needs about {memory}, {planned.gpus} GPUs; this machine has {os.cpu_count()} cores")


def _pools(planned: LocalPlan) -> Table:
    table = Table("pool", "tier", "task", "action", "on", "replicas", "memory", box=None, pad_edge=False)
    table.add_column("weights", overflow="fold")
    for step in planned.pools:
        if step.pool:
            spec = step.pool.spec
            weights = spec.model.uri if spec.model else "-"
            table.add_row(
                pool_name(step.key), spec.tier, spec.task, str(step.action), where(step.pool), str(step.replicas),
                _memory(step), weights,
            )  # fmt: skip
    return table


def _memory(step: PoolPlan) -> str:
    if not step.deploys:
        return "-"
    return "unknown" if step.memory_bytes is None else f"{step.memory_bytes / GIB:.1f} GiB"


def _routers(routers: list[ModelRouter], wanted: Wanted) -> Table:
    table = Table("router", "serves", "strategy", "pools", box=None, pad_edge=False)
    for router in routers:
        missing = [name for name in router.pool_names if router.key.beside("ModelPool", name) not in wanted.pools]
        pools = " → ".join(router.strategy_pools) + (f"  [red]missing: {', '.join(missing)}[/]" if missing else "")
        table.add_row(router.name, ", ".join(router.served_names), router.spec.strategy.type, pools)
    return table
