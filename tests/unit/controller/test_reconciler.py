"""Log lines about an API server that fails."""

import pytest
from resource_builders import a_context, a_pool

from pilotfish.base.keys import Key
from pilotfish.controller.answers import Answers
from pilotfish.controller.apply import Applier
from pilotfish.controller.config_maps import ConfigMapDigests
from pilotfish.controller.external import ExternalChecks
from pilotfish.controller.gateway_reports import GatewayReports
from pilotfish.controller.load import LoadBook
from pilotfish.controller.mirror import Mirror
from pilotfish.controller.observer import ClusterObserver
from pilotfish.controller.reconciler import Reconciler
from pilotfish.controller.report import Reporter
from pilotfish.kube.errors import Failing

KEY = Key("ModelPool", "team", "small")
POOL = a_pool().to_manifest()


class Server:
    """An API server that cannot take objects while it is `down`, and takes statuses always."""

    def __init__(self):
        self.down, self.told = False, []

    async def find(self, *_):
        return None

    async def apply(self, _, manifest):
        if self.down:
            raise Failing("the webhook is away (500)")
        return manifest

    async def apply_status(self, _, manifest):
        conditions = {each["type"]: each["reason"] for each in manifest["status"]["conditions"]}
        self.told.append(conditions["Scaled"])
        return POOL | {"status": manifest["status"]}

    async def create(self, *_, **__):
        return None


async def unused(*_, **__):
    raise AssertionError("not called")


def a_reconciler(server, entries):
    mirror = Mirror(_objects=entries)
    return Reconciler(
        mirror=mirror,
        applier=Applier(server, mirror),
        reporter=Reporter(server, mirror, "one"),
        observer=ClusterObserver(
            mirror=mirror,
            faults=lambda *_: (),
            prepares=lambda _: False,
            config_maps=ConfigMapDigests(server),
            progress=unused,
            load=LoadBook(lambda: 0.0),
            reports=GatewayReports(unused, lambda: 0.0),
            external=ExternalChecks(server, unused, lambda: 0.0),
            answers=Answers(unused),
        ),
        context=a_context,
    )


async def test_one_failure_is_tried_again_and_a_second_in_a_row_is_told():
    server, entries = Server(), {}
    reconciler = a_reconciler(server, entries)
    steps = [(True, None), (True, "Refused"), (False, "Scaling"), (True, "Scaling"), (True, "Refused")]
    for replicas, (down, told) in enumerate(steps, start=1):
        server.down, entries[KEY] = down, [Mirror().parse(a_pool(replicas=replicas).to_manifest())]
        if down:
            with pytest.raises(Failing):
                await reconciler.reconcile(KEY)
        else:
            await reconciler.reconcile(KEY)
        assert (server.told or [None])[-1] == told
