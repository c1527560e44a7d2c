"""The audit of the mirror, against a real API server."""

import pytest
from operator_cases import a_pool

from pilotfish.controller.audit import Audit, StaleMirror
from pilotfish.controller.mirror import Key, Mirror, entry
from pilotfish.kube.client import KubeClient
from pilotfish.kube.credentials import Credentials


async def test_an_object_whose_deletion_was_never_seen_ends_the_process(api, control_plane, account, namespace):
    live = [api.create(a_pool(namespace, name)) for name in ("stays", "goes")]
    mirror = Mirror()
    mirror.bind(
        {
            "entries": {Key("ModelPool", namespace, raw["metadata"]["name"]): [entry(raw)] for raw in live},
            **{name: {} for name in ("referrers", "served", "children", "pods")},
        }
    )
    credentials = Credentials(control_plane.url, ca_path=str(control_plane.certificate), token=account.token)
    async with KubeClient(credentials) as client:
        audit = Audit(client, mirror)
        await audit.compare(patience=0)
        api.delete(live[1])
        with pytest.raises(StaleMirror, match="1 objects"):
            await audit.compare(patience=0)
