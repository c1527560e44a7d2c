"""Checks of an AdaptationPlugin by what its class declares."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import pytest
from resource_builders import a_plugin, a_pool

from pilotfish.api import Resource
from pilotfish.api.common import Model
from pilotfish.api.modelpool import Task, Tier
from pilotfish.api.validation import Fault
from pilotfish.base.keys import Key
from pilotfish.plugin_api.adaptations import Role
from pilotfish.plugin_api.settings import Settings
from pilotfish.reconcile.kinds import KINDS


class Limits(Model):
    """The config of Guarding."""

    max_words: int = 5


class Guarding:
    """Declares everything, and cannot be made."""

    roles: ClassVar = (Role("judge", tier=Tier.SMALL), Role("embedder", Task.EMBED, optional=True))
    protects: ClassVar = True
    config_model: ClassVar = Limits

    @classmethod
    def from_settings(cls, settings: Settings) -> "Guarding":
        raise RuntimeError("made to check a config")


class Undeclared(Guarding):
    """Declares its roles in a wrong way."""

    roles: ClassVar = ["judge"]


class Installation:
    sources = logits = scorers = ()
    adaptations = ("guarding", "undeclared")

    def adaptation(self, name: str) -> type[Guarding]:
        return Guarding if name == "guarding" else Undeclared


POOLS = {
    "small": a_pool("small"),
    "large": a_pool("large", tier="Large"),
    "vectors": a_pool("vectors", task="Embed"),
}


def find(key: Key) -> Resource | None:
    return POOLS.get(key.name)


def faults(roles: Mapping[str, str], **spec: Any) -> Iterable[Fault]:
    refs = [{"role": role, "name": name} for role, name in roles.items()]
    spec = {"type": "guarding", "failurePolicy": "Fail", "poolRefs": refs, **spec}
    return KINDS.check_all(a_plugin(**spec), find, Installation())


@pytest.mark.parametrize(
    ("roles", "spec", "path", "text"),
    [
        ({}, {}, "spec.poolRefs", "each of these roles: judge"),
        ({"judge": "small", "critic": "small"}, {}, "spec.poolRefs[1].role", "use one of judge, embedder"),
        ({"judge": "vectors"}, {}, "spec.poolRefs[0].name", "needs Generate"),
        ({"judge": "small", "embedder": "small"}, {}, "spec.poolRefs[1].name", "needs Embed"),
        ({"judge": "small"}, {"failurePolicy": "Ignore"}, "spec.failurePolicy", "set Fail"),
        ({"judge": "small"}, {"config": {"maxWords": "many"}}, "spec.config.maxWords", "integer"),
        ({"judge": "small"}, {"type": "undeclared"}, "spec.type", "`roles` must be a tuple"),
    ],
    ids=["missing", "unknown", "task", "optional", "policy", "config", "declaration"],
)
def test_a_fault_names_the_field(roles: Mapping[str, str], spec: Mapping[str, Any], path: str, text: str) -> None:
    (fault,) = faults(roles, **spec)
    assert str(fault).startswith(f"{path}:")
    assert text in fault.message


def test_pools_as_declared_have_no_fault_and_another_tier_has_a_warning() -> None:
    assert not list(faults({"judge": "large", "embedder": "vectors"}, config={"maxWords": 7}))
    (kind,) = [kind for kind in KINDS if kind.name == "AdaptationPlugin"]
    refs = [{"role": "judge", "name": "large"}, {"role": "embedder", "name": "later"}]
    (warning,) = kind.remark_links(a_plugin(type="guarding", poolRefs=refs), find, Installation())
    assert "meant for Small" in warning.message
