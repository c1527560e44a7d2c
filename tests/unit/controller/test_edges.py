"""Who is looked at when a resource changes, comes or goes."""

import pytest
from resource_builders import a_plugin, a_policy, a_pool, a_router

from pilotfish.controller.edges import Edges
from pilotfish.controller.mirror import Key, Mirror, entry, key_of, references

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
        self.edges = Edges(self._mirror)
        for resource in resources:
            self.see(resource.to_manifest())

    def see(self, body, *, gone=False):
        """The keys that the event concerns."""
        self._live.pop(key_of(body), None)
        if not gone:
            self._live[key_of(body)] = entry(body)
        referrers, served = {}, {}
        for key, found in self._live.items():
            for named in references(found.resource) if found.resource else ():
                referrers.setdefault(named, []).append(key)
            for name in getattr(found.resource, "served_names", ()):
                served.setdefault(name, []).append(key)
        self._mirror.bind({"entries": {}, "children": {}, "pods": {}, "referrers": referrers, "served": served})
        return self.edges.concerned(body, gone=gone)


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
    assert set(cluster.see(pool, gone=True)) == {key_of(pool), key_of(PLUGGED.to_manifest()), POLICY}
    assert POLICY not in cluster.see(a_pool().to_manifest())
