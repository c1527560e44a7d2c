"""The audit of the mirror, against a real API server."""

import pytest
from operator_cases import a_pool

from pilotfish.base.keys import Key
from pilotfish.controller.audit import Audit, StaleMirror
from pilotfish.controller.mirror import Mirror
from pilotfish.kube.client import KubeClient
from pilotfish.kube.credentials import Credentials
from pilotfish.render.labels import POOL_LABEL


def a_pod(namespace, name):
    """No node takes it, so it goes at once when it is deleted."""
    metadata = {"namespace": namespace, "name": name, "labels": {POOL_LABEL: "stays"}}
    spec = {"containers": [{"name": "engine", "image": "pool.test/pool:1"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


async def test_an_object_whose_deletion_was_never_seen_ends_the_process(api, control_plane, account, namespace):
    live = [api.create(a_pool(namespace, name)) for name in ("stays", "goes")]
    pods = [api.create(a_pod(namespace, name)) for name in ("stays", "goes")]
    mirror = Mirror()
    mirror.bind(
        {
            "objects": {Key("ModelPool", namespace, raw["metadata"]["name"]): [mirror.parse(raw)] for raw in live},
            "pods": {Key("ModelPool", namespace, "stays"): pods},
            **{name: {} for name in ("referrers", "claimants", "children")},
        }
    )
    credentials = Credentials(control_plane.url, ca_path=str(control_plane.certificate), token=account.token)
    async with KubeClient(credentials) as client:
        audit = Audit(client, mirror)
        await audit.compare(patience=0)
        api.delete(live[1])
        with pytest.raises(StaleMirror, match="1 objects"):
            await audit.compare(patience=0)
        api.delete(pods[1])
        with pytest.raises(StaleMirror, match="2 objects"):
            await audit.compare(patience=0)
