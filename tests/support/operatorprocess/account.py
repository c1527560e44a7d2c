"""A service account with the operator's rights and no others."""

from dataclasses import dataclass

from controlplane import Api

from pilotfish.crdgen.rbac import OPERATOR, OPERATOR_HOME, Grant

_RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Account:
    """Who the operator is to the API server, and where its Lease is."""

    namespace: str
    token: str

    @property
    def user(self) -> str:
        """The name in the API server's audit log."""
        return f"system:serviceaccount:{self.namespace}:operator"

    @classmethod
    def make(cls, api: Api, grants: tuple[Grant, ...] = OPERATOR) -> "Account":
        """A new namespace for an operator, and the rights that the chart gives it."""
        home = api.namespace()
        subject = {"kind": "ServiceAccount", "name": "operator", "namespace": home}
        api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "operator", "namespace": home}})
        for kind, name, namespace, granted in (
            ("ClusterRole", f"operator-{home}", None, grants),
            ("Role", "operator", home, OPERATOR_HOME),
        ):
            metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
            api.create(
                {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": metadata, "rules": list(map(_rule, granted))}
            )
            api.create(
                {
                    "apiVersion": f"{_RBAC}/v1",
                    "kind": f"{kind}Binding",
                    "metadata": metadata,
                    "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": name},
                    "subjects": [subject],
                }
            )
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": None}}
        path = f"/api/v1/namespaces/{home}/serviceaccounts/operator/token"
        return cls(home, api.request("POST", path, json=request)["status"]["token"])


def _rule(grant: Grant) -> dict[str, list[str]]:
    return {"apiGroups": [grant.group], "resources": list(grant.resources), "verbs": list(grant.verbs)}
