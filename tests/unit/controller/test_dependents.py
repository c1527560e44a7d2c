"""Who is looked at when a resource changes, comes or goes."""

import pytest
from resource_builders import a_plugin, a_policy, a_pool, a_router

from pilotfish.base.keys import Key
from pilotfish.controller.dependents import Dependents
from pilotfish.controller.mirror import Mirror
from pilotfish.reconcile.kind import Kind, Reference, observe_basics
from pilotfish.reconcile.kinds import KINDS, KindTable

POLICY, PLUGIN = Key("AutoscalingPolicy", "team", "follow-load"), Key("AdaptationPlugin", "team", "handbook")
RIVAL = Key("ModelRouter", "team", "b")
FOLLOWING = a_pool(replicas=None, autoscalingPolicyRef={"name": "follow-load"})
PLUGGED = a_router("a", "small", servedModelNames=["chat"], plugins=[{"pluginRef": {"name": "handbook"}}])
PLAIN = a_router("a", "small", servedModelNames=["talk"])


class Cluster:
    """The indexes as Kopf keeps them: up to date before an event is handled."""

    def __init__(self, *resources):
        self._live = {}
        self._mirror = Mirror()
        self._dependents = Dependents(self._mirror)
        for resource in resources:
            self.see(resource.to_manifest())

    def see(self, body, *, gone=False):
        """The keys that the event concerns."""
        self._live.pop(Key.of(body), None)
        if not gone:
            self._live[Key.of(body)] = self._mirror.parse(body)
        referrers, claimants = {}, {}
        for key, found in self._live.items():
            for named in KINDS.references(found.resource) if found.resource else ():
                referrers.setdefault(named.key, []).append(key)
            for name in KINDS.claims(found.resource) if found.resource else ():
                claimants.setdefault(name, []).append(key)
        self._mirror.bind({"objects": {}, "children": {}, "pods": {}, "referrers": referrers, "claimants": claimants})
        return self._dependents.of(body, gone=gone)


def broken(resource):
    body = resource.to_manifest()
    return body | {"spec": body["spec"] | {"strategy": {"type": "Weighted"}, "tier": "Middle"}}


@pytest.mark.parametrize(
    ("before", "after", "let_go"),
    [
        (FOLLOWING, a_pool().to_manifest(), POLICY),
        (FOLLOWING, broken(FOLLOWING), POLICY),
        (PLUGGED, PLAIN.to_manifest(), PLUGIN),
        (PLUGGED, PLAIN.to_manifest(), RIVAL),
        (PLUGGED, broken(PLUGGED), RIVAL),
    ],
)
def test_who_is_no_longer_named_is_looked_at_once_more(before, after, let_go):
    rival = a_router("b", "small", servedModelNames=["chat"])
    cluster = Cluster(a_policy(), a_plugin(), rival, before)
    assert let_go in cluster.see(after)
    assert let_go not in cluster.see(after)


def test_a_resource_that_goes_concerns_those_that_name_it_and_those_it_named():
    cluster = Cluster(a_policy(), FOLLOWING, PLUGGED)
    pool = FOLLOWING.to_manifest()
    assert set(cluster.see(pool, gone=True)) == {Key.of(pool), Key.of(PLUGGED.to_manifest()), POLICY}
    assert POLICY not in cluster.see(a_pool().to_manifest())


def test_a_reference_to_a_kind_outside_the_table_concerns_nobody_else():
    secret = Reference(RIVAL.beside("Secret", "key"), ("spec", "pools"))
    unused = Kind(type(PLAIN), observe_basics, decide=lambda *_: None, references=lambda _: [secret])
    body = PLAIN.to_manifest()
    assert Dependents(Mirror(KindTable([unused]))).of(body, gone=False) == (Key.of(body),)
