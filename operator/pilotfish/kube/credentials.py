"""The address and credentials of the API server: the pod's service account, else the kubeconfig."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pilotfish.base.errors import MachineError

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class Credentials:
    """An API server and credentials. The token's file is read for each use, because it is rotated."""

    server: str
    ca_path: str | None = None
    certificate_path: str | None = None
    key_path: str | None = None
    token_path: Path | None = None
    token: str | None = None
    namespace: str | None = None
    """The pod's own namespace."""
    insecure: bool = False

    def headers(self) -> dict[str, str]:
        """The Authorization header, if a token is used."""
        token = self.token_path.read_text().strip() if self.token_path else self.token
        return {"Authorization": f"Bearer {token}"} if token else {}

    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS context for an https server: its certificate authority and our certificate."""
        if not self.server.startswith("https"):
            return None
        context = ssl.create_default_context(cafile=self.ca_path)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate_path:
            context.load_cert_chain(self.certificate_path, self.key_path)
        return context


def find_credentials(environ: Mapping[str, str]) -> Credentials:
    """The service account's when in a pod, else those of the current context of the kubeconfig.

    Raises MachineError if there is neither.
    """
    host = environ.get("KUBERNETES_SERVICE_HOST")
    if host and (_SERVICE_ACCOUNT / "token").exists():
        address = f"[{host}]" if ":" in host else host
        return Credentials(
            server=f"https://{address}:{environ.get('KUBERNETES_SERVICE_PORT', '443')}",
            ca_path=str(_SERVICE_ACCOUNT / "ca.crt"),
            token_path=_SERVICE_ACCOUNT / "token",
            namespace=(_SERVICE_ACCOUNT / "namespace").read_text().strip(),
        )
    return _from_kubeconfig()


def _from_kubeconfig() -> Credentials:
    from kubernetes import client, config  # noqa: PLC0415 - hundreds of modules that a pod does not need

    found = client.Configuration()
    try:
        config.load_kube_config(client_configuration=found)
    except config.ConfigException as error:
        raise MachineError(f"no cluster is configured: this is not a pod, and {error}: set KUBECONFIG") from error
    bearer = (found.api_key or {}).get("authorization") or (found.api_key or {}).get("BearerToken") or ""
    return Credentials(
        server=found.host,
        ca_path=found.ssl_ca_cert,
        certificate_path=found.cert_file,
        key_path=found.key_file,
        token=bearer.removeprefix("Bearer ") or None,
        insecure=not found.verify_ssl,
    )
