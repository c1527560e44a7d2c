"""The webhook as a process that a real API server asks."""

import base64
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from controlplane import Api, ControlPlane, Refused
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_COMMAND = "from pilotfish.cli.main import main; main()"


def make_certificate(folder: Path) -> bytes:
    """Write tls.crt and tls.key for 127.0.0.1 and return the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "webhook")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "tls.key").write_bytes(private)
    public = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "tls.crt").write_bytes(public)
    return public


class Webhook:
    """A running webhook, and the address that the API server asks."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.bundle = make_certificate(folder)
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        arguments = ["webhook", "--certificates", str(folder), "--host", "127.0.0.1", "--port", str(self._port)]
        self._log = folder.parent / "webhook.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _COMMAND, *arguments], env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    def answers(self) -> bool:
        assert self.process.poll() is None, self._log.read_text()
        try:
            return httpx.get(f"{self.url}/healthz", verify=False, trust_env=False).is_success  # noqa: S501 - its own
        except httpx.TransportError:
            return False

    def configuration(self, namespace: str) -> dict[str, Any]:
        """As the chart's, but that it names an address instead of a Service, and one namespace."""
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": f"webhook-{namespace}"},
            "webhooks": [
                {
                    "name": "validate.pilotfish.dev",
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    "failurePolicy": "Ignore",
                    "timeoutSeconds": 3,
                    "clientConfig": {
                        "url": f"{self.url}/validate",
                        "caBundle": base64.b64encode(self.bundle).decode(),
                    },
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                    "rules": [
                        {
                            "apiGroups": ["pilotfish.dev"],
                            "apiVersions": ["v1alpha1"],
                            "operations": ["CREATE", "UPDATE"],
                            "resources": ["*"],
                        }
                    ],
                }
            ],
        }


@pytest.fixture
def webhook(control_plane: ControlPlane, api: Api, namespace: str, tmp_path: Path) -> Iterator[Webhook]:
    """A webhook that the API server asks about one namespace, with two pools of different tasks in it."""
    for name, task in (("small", "Generate"), ("embedder", "Embed")):
        spec = {"tier": "Small", "task": task, "model": {"uri": "hf://a/b"}, "replicas": 0}
        api.create(ours("ModelPool", name, namespace, spec))
    folder = tmp_path / "tls"
    folder.mkdir()
    webhook = Webhook(control_plane.kubeconfig(tmp_path / "kubeconfig"), folder)
    configuration = webhook.configuration(namespace)
    try:
        api.wait("the webhook answering", webhook.answers)
        api.create(configuration)
        api.wait("the API server asking it", lambda: is_refused(api, mixed(namespace)))
        yield webhook
    finally:
        webhook.process.kill()
        webhook.process.wait()
        api.delete(configuration)


def ours(kind: str, name: str, namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "pilotfish.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def router(namespace: str, first: str, second: str, scorer: dict[str, Any]) -> dict[str, Any]:
    accept = {"scorer": scorer, "thresholdPermille": 500}
    stages = [{"poolRef": {"name": first}, "accept": accept}, {"poolRef": {"name": second}}]
    return ours("ModelRouter", "cascade", namespace, {"strategy": {"type": "Cascade", "cascade": {"stages": stages}}})


def mixed(namespace: str) -> dict[str, Any]:
    return router(namespace, "small", "embedder", {"name": "logprob"})


def is_refused(api: Api, manifest: dict[str, Any]) -> bool:
    try:
        api.create(manifest, dry_run=True)
    except Refused:
        return True
    return False


def test_what_no_schema_sees_is_refused_and_what_may_come_is_not(webhook: Webhook, api: Api, namespace: str) -> None:
    assert webhook.answers()
    with pytest.raises(Refused, match="pool 'embedder' has task Embed, but 'small' has Generate"):
        api.create(mixed(namespace), dry_run=True)
    wrong = router(namespace, "small", "later", {"name": "logprob", "config": {"statistic": "modal"}})
    with pytest.raises(Refused, match=r"stages\[0\]\.accept\.scorer\.config\.statistic: must be 'mean'"):
        api.create(wrong, dry_run=True)
    api.create(router(namespace, "small", "later", {"name": "logprob"}), dry_run=True)
    api.create(router(namespace, "small", "later", {"name": "not-installed-yet"}), dry_run=True)


def test_without_the_webhook_everything_goes_on(webhook: Webhook, api: Api, namespace: str) -> None:
    webhook.process.kill()
    webhook.process.wait()
    api.create(mixed(namespace))


def test_a_renewed_certificate_is_used_without_a_restart(webhook: Webhook, api: Api, tmp_path: Path) -> None:
    renewed = make_certificate(tmp_path / "tls").decode()
    address = ("127.0.0.1", int(webhook.url.rpartition(":")[2]))
    api.wait("the new certificate being served", lambda: ssl.get_server_certificate(address) == renewed)
