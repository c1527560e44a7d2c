"""A kind is added by one entry in the table of kinds: CRD, rights, watches and reconciling follow from it."""

from pathlib import Path
from typing import Any

import note_kind
from controlplane import Api, ControlPlane, install_crds
from note_kind import WITH_NOTES, Note
from operator_cases import START_SECONDS, a_pool, condition, there
from operatorprocess import Account, OperatorProcess

from pilotfish.crdgen.crd import definition
from pilotfish.crdgen.rbac import operator_grants


def text_of(api: Api, note: dict[str, Any]) -> str | None:
    found = there(api, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": note["metadata"]})
    return found and found["data"]["text"]


def test_a_new_kind_is_reconciled_with_the_rights_that_its_entry_asks_for(
    control_plane: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> None:
    install_crds(api, [definition(Note)])
    account = Account.make(api, operator_grants(WITH_NOTES))
    metadata = {"name": "reminder", "namespace": namespace}
    spec = {"text": "mind the queue", "poolRef": {"name": "later"}}
    note = {"apiVersion": "pilotfish.dev/v1alpha1", "kind": "Note", "metadata": metadata, "spec": spec}
    made = api.create(note)
    kubeconfig = control_plane.kubeconfig(tmp_path / "kubeconfig", token=account.token)
    program = Path(note_kind.__file__)
    with OperatorProcess(kubeconfig, account.namespace, tmp_path / "operator.log", program=program) as operator:

        def refs() -> str | None:
            return condition(api, note, "ResolvedRefs").get("reason")

        api.wait("the missing pool being reported", lambda: refs() == "NotFound", seconds=START_SECONDS)
        api.wait("the ConfigMap", lambda: text_of(api, note) == "mind the queue")
        assert api.get(note)["status"]["length"] == len("mind the queue")
        child = api.get({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
        assert child["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
        api.create(a_pool(namespace, "later"))
        api.wait("the pool being found", lambda: refs() == "Resolved")
        api.delete(child)
        api.wait("the ConfigMap being made again", lambda: text_of(api, note) == "mind the queue")
        api.merge(note, {"spec": {"text": "done"}})
        api.wait("the new text", lambda: text_of(api, note) == "done")
        assert operator.stop() == 0, operator.words
