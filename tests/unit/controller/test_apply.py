"""What is done first when one object takes the place of another."""

import pytest
from resource_builders import a_context, a_pool, children

from pilotfish.controller.apply import Applier
from pilotfish.controller.mirror import Mirror
from pilotfish.kube.errors import Refused
from pilotfish.reconcile.outcome import ObservedPool, Outcome
from pilotfish.reconcile.pool import decide


class RefusesAll:
    """An API server that rejects new objects and records deletions."""

    def __init__(self):
        self.deleted = []

    async def find(self, *_):
        return None

    async def apply(self, resource, _):
        raise Refused(f"{resource.kind}: exceeded quota")

    async def delete(self, resource, *_, **__):
        self.deleted.append(resource.kind)


async def test_nothing_goes_while_what_takes_its_place_is_refused():
    made = children(decide(a_pool(), ObservedPool(), a_context()))
    wanted = decide(a_pool(runtime="RayService"), ObservedPool(), a_context(kuberay=True))
    server = RefusesAll()
    outcome = Outcome({}, manifests=wanted.manifests, deletions=tuple(made))
    with pytest.raises(Refused):
        await Applier(server, Mirror()).make_so(outcome, made)
    assert server.deleted == []
