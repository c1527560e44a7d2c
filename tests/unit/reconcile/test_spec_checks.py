"""Pools of one router that differ in task are found, with every strategy."""

from typing import Any

import pytest

from pilotfish.api import ModelPool, ModelRouter
from pilotfish.reconcile.spec_checks import task_faults


def pool(name: str, task: str) -> ModelPool:
    spec = {"tier": "Small", "task": task, "model": {"uri": "hf://a/b"}, "replicas": 1}
    return ModelPool.model_validate(
        {"apiVersion": "pilotfish.dev/v1alpha1", "kind": "ModelPool", "metadata": {"name": name}, "spec": spec}
    )


def router(strategy: dict[str, Any], *fallback: str) -> ModelRouter:
    spec = {"strategy": strategy, "fallback": [{"poolRef": {"name": name}} for name in fallback]}
    return ModelRouter.model_validate(
        {"apiVersion": "pilotfish.dev/v1alpha1", "kind": "ModelRouter", "metadata": {"name": "r"}, "spec": spec}
    )


POOLS = {"a": pool("a", "Generate"), "b": pool("b", "Generate"), "e": pool("e", "Embed")}


def weighted(*names: str) -> dict[str, Any]:
    return {"type": "Weighted", "weighted": {"pools": [{"poolRef": {"name": name}, "weight": 1} for name in names]}}


@pytest.mark.parametrize(
    ("declared", "found"),
    [
        (router(weighted("a", "b"), "a"), []),
        (router(weighted("e")), []),
        (router(weighted("a", "missing"), "later"), []),
        (router(weighted("a", "e")), [("spec", "strategy")]),
        (router(weighted("missing", "a"), "e", "b"), [("spec", "fallback")]),
    ],
    ids=["same", "one", "missing", "strategy", "fallback"],
)
def test_a_pool_of_another_task_is_a_fault_at_its_place(declared: ModelRouter, found: list[tuple[str, ...]]) -> None:
    assert [fault.path for fault in task_faults(declared, POOLS)] == found
