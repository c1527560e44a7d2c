"""Checks of a spec by the other pools and by the installed plugins."""

from typing import Any

import pytest
from resource_builders import CASCADE, a_plugin, a_router

from pilotfish.api import ModelPool, ModelRouter
from pilotfish.plugin_api.settings import Settings
from pilotfish.reconcile.spec_checks import check_plugin, check_router, task_faults


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


class Units:
    """A plugin that does not check its config."""

    system: str

    @classmethod
    def from_settings(cls, settings: Settings) -> "Units":
        units = cls()
        units.system = settings.config["system"]
        return units


class WithUnits:
    """An installation whose only adaptation and scorer is Units."""

    sources = ()
    adaptations = ("retrieval",)
    logits = ()
    scorers = ("logprob",)

    def adaptation(self, _: str) -> type[Units]:
        return Units

    def scorer(self, _: str) -> type[Units]:
        return Units


def test_any_exception_of_from_settings_is_a_fault_of_the_config() -> None:
    plugin, router = check_plugin(a_plugin(), WithUnits()), check_router(a_router(strategy=CASCADE), WithUnits())
    accept = ("spec", "strategy", "cascade", "stages", 0, "accept")
    for found, path in ((plugin, ("spec",)), (router, (*accept, "scorer"))):
        (fault,) = found
        assert fault.path == (*path, "config")
        assert "KeyError: 'system'" in fault.message
    assert not list(check_plugin(a_plugin(config={"system": "metric"}), WithUnits()))
