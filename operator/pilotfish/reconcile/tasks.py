"""A router's pools answer the same requests, so they must do the same task; no schema can see that."""

from collections.abc import Mapping, Sequence

from pilotfish.api import ModelPool, ModelRouter
from pilotfish.api.validation import Fault


def task_faults(router: ModelRouter, pools: Mapping[str, ModelPool]) -> Sequence[Fault]:
    """A fault for each pool that answers for the router and differs in task from the strategy's first one.

    `pools` holds those that exist, by name; one that does not is no fault of this kind.
    """
    fallback = tuple(entry.pool_ref.name for entry in router.spec.fallback)
    places = [(("spec", "strategy"), name) for name in router.strategy_pools]
    places += [(("spec", "fallback"), name) for name in dict.fromkeys(fallback)]
    known = [(path, pools[name]) for path, name in places if name in pools]
    if not known:
        return ()
    first = known[0][1]
    return tuple(
        Fault(
            path,
            f"pool {pool.name!r} has task {pool.spec.task}, but {first.name!r} has {first.spec.task}: "
            "name pools of one task",
        )
        for path, pool in known
        if pool.spec.task is not first.spec.task
    )
