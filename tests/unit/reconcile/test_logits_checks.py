"""Plugins inside engines, and plugins in the gateway: each is refused where it cannot work."""

from dataclasses import replace

import pytest
from resource_builders import a_context, a_plugin, a_pool, a_router, children, says

from pilotfish.api.common import Model
from pilotfish.api.validation import format_path
from pilotfish.plugin_api.logits import ModelRole
from pilotfish.plugin_api.settings import read_config
from pilotfish.reconcile.kinds import KINDS
from pilotfish.reconcile.outcome import ObservedPool
from pilotfish.reconcile.pool import decide, references


class Config(Model):
    alpha: float = 1.0


class Steering:
    roles = (ModelRole("expert"), ModelRole("anti", optional=True))

    @classmethod
    def from_settings(cls, settings):
        read_config(Config, settings)
        return cls()


class Catalog:
    """An installation with one plugin of each group."""

    sources = ("package", "hf")
    scorers = ()
    adaptations = ("retrieval",)
    logits = ("steering",)

    def adaptation(self, _):
        return Steering

    def logits_plugin(self, _):
        return Steering


EXPERT = {"role": "expert", "model": {"uri": "hf://org/expert"}}
PLUGINS = {
    each.key: each
    for each in (
        a_plugin("steer", type="steering", config={"alpha": 0.5}),
        a_plugin("again", type="steering"),
        a_plugin("broken", type="steering", config={"alpha": "much"}),
        a_plugin("pages", type="retrieval"),
        a_plugin("later", type="not-installed"),
    )
}


def use(name, *models):
    return {"pluginRef": {"name": name}, "models": list(models)}


def faults(resource):
    found = KINDS.check_all(resource, PLUGINS.get, Catalog())
    return [(format_path(fault.path), fault.message) for fault in found]


def test_a_plugin_with_its_models_is_accepted_in_a_pool():
    assert faults(a_pool(logits=[use("steer", EXPERT)])) == []
    assert faults(PLUGINS[a_plugin("steer").key]) == []


@pytest.mark.parametrize(
    ("logits", "path", "words"),
    [
        ([use("pages")], "spec.logits[0].pluginRef.name", "works in the gateway: name it in spec.plugins"),
        ([use("later")], "spec.logits[0].pluginRef.name", "no logits plugin not-installed is installed"),
        ([use("steer")], "spec.logits[0].models", "needs a model for each of these roles: expert"),
        (
            [use("steer", EXPERT, {"role": "judge", "model": {"uri": "hf://a/b"}})],
            "spec.logits[0].models[1].role",
            "no role 'judge': use one of expert, anti",
        ),
        (
            [use("steer", EXPERT), use("again", EXPERT)],
            "spec.logits[1].pluginRef.name",
            "'again' and 'steer' are both of type 'steering'",
        ),
        ([use("broken", EXPERT)], "spec.logits[0].pluginRef.name", "'broken': spec.config.alpha: must be a number"),
    ],
)
def test_a_plugin_that_cannot_work_in_the_engine_is_a_fault_at_its_place(logits, path, words):
    ((found, message),) = faults(a_pool(logits=logits))
    assert found == path
    assert words in message


def test_a_router_takes_plugins_of_the_gateway_alone():
    ((path, message),) = faults(
        a_router("desk", "small", plugins=[{"pluginRef": {"name": name}} for name in ("pages", "steer")])
    )
    assert path == "spec.plugins[1].pluginRef.name"
    assert "works inside engines: name it in spec.logits of a ModelPool" in message


def test_a_plugin_inside_the_engine_asks_no_pools():
    ((path, message),) = faults(a_plugin("steer", type="steering", poolRefs=[{"role": "expert", "name": "small"}]))
    assert (path, "asks no pools" in message) == ("spec.poolRefs", True)


def test_a_pool_with_a_plugin_runs_it_and_a_changed_config_restarts_its_engines():
    pool = a_pool(logits=[use("steer", EXPERT)])
    assert [reference.key.name for reference in references(pool)] == ["steer"]
    seen = ObservedPool(plugins=(PLUGINS[a_plugin("steer").key],))
    made = decide(pool, seen, a_context())
    (plugin,) = seen.plugins
    changed = plugin.model_copy(update={"spec": plugin.spec.model_copy(update={"config": {"alpha": 2}})})
    later = decide(pool, replace(seen, plugins=(changed,), children=children(made)), a_context())
    for outcome, alpha in ((made, "0.5"), (later, "2")):
        rendered = str(outcome.manifests)
        assert f'"config": {{"alpha": {alpha}}}' in rendered
        assert "/models/logits/0/expert" in rendered
    assert made.status["revision"] != later.status["revision"]


def test_a_pool_whose_plugin_is_missing_is_held_back():
    pool = a_pool(logits=[use("nobody", EXPERT)])
    outcome = decide(pool, ObservedPool(missing=(references_of(pool),)), a_context())
    assert not outcome.manifests
    assert says(outcome, "ResolvedRefs") == ("False", "NotFound")


def references_of(pool):
    (reference,) = references(pool)
    return reference.key
