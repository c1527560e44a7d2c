"""The message of `pilotfish up` when pools are ready: the address, the models, and a command to try."""

import json

from pilotfish.api import ModelRouter
from pilotfish.routing.snapshot import PoolState, Snapshot, Target

QUESTION = "What is the capital of Australia?"


def welcome(url: str, snapshot: Snapshot) -> str:
    """The message, several lines."""
    rows = [(name, _what(target), _state(target, snapshot)) for name, target in sorted(snapshot.targets.items())]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    models = [f"  {name:<{widths[0]}}  {what:<{widths[1]}}  {state}" for name, what, state in rows]
    model = _to_try(snapshot)
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": QUESTION}]})
    return "\n".join(
        [
            "",
            f"OpenAI API at {url}/v1, models:",
            *models,
            "",
            f"  curl -s {url}/v1/chat/completions -H 'Content-Type: application/json' -d '{body}'",
            f"  pilotfish chat --url {url} -m {model}",
            "",
        ]
    )


def _to_try(snapshot: Snapshot) -> str:
    """The name of a router that can answer, else of a pool that can."""
    able = [name for name, target in snapshot.targets.items() if _state(target, snapshot) == PoolState.READY]
    routers = [name for name in able if snapshot.targets[name].router]
    return sorted(routers or able or snapshot.targets)[0]


def _what(target: Target) -> str:
    if target.router:
        return _strategy(target.router.router)
    return f"pool, {target.pool.pool.spec.tier.lower()}" if target.pool else ""


def _strategy(router: ModelRouter) -> str:
    return f"{router.spec.strategy.type.lower()}: {' → '.join(router.strategy_pools)}"


def _state(target: Target, snapshot: Snapshot) -> str:
    if target.fault:
        return target.fault
    if target.pool:
        reason = f": {target.pool.reason}" if target.pool.reason else ""
        return target.pool.state + reason
    if target.router is None:
        return PoolState.FAILED
    pools = [snapshot.pool(target.namespace, name) for name in target.router.router.strategy_pools]
    ready = any(pool is not None and pool.state is PoolState.READY for pool in pools)
    return PoolState.READY if ready else PoolState.FAILED
