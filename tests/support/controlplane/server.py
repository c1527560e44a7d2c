"""The two processes of a control plane, on free ports of the loopback address, with RBAC on."""

import json
import secrets
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from controlplane.client import Api

_START_SECONDS = 60
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "None", "users": ["system:apiserver", "admin"]}, {"level": "Metadata"}],
}


@dataclass(frozen=True)
class Request:
    """A request that the API server answered, as its audit log has it."""

    user: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int


class ControlPlane:
    """etcd and kube-apiserver. The API server can be stopped and started again on the same address and data."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._etcd_port, self._etcd_peer_port, self.port = _free_ports(3)
        self._token = secrets.token_hex(16)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def certificate(self) -> Path:
        """The certificate that the API server made for itself."""
        return self._folder / "certs" / "apiserver.crt"

    def __enter__(self) -> Self:
        self._write_secrets()
        self._start("etcd", self._etcd_arguments())
        try:
            self._wait("etcd", f"http://127.0.0.1:{self._etcd_port}/health", verify=False)
            self.start_apiserver()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("kube-apiserver", "etcd"):
            self._stop(name)

    def start_apiserver(self) -> None:
        """Start the API server, and return when it is ready."""
        self._start("kube-apiserver", self._apiserver_arguments())
        self._wait("kube-apiserver", f"{self.url}/readyz", verify=True)

    def stop_apiserver(self) -> None:
        """End the API server; etcd keeps what was written."""
        self._stop("kube-apiserver")

    def api(self, *, user: str | None = None) -> Api:
        """A client that may do anything, or that acts as `user`."""
        return Api(self.url, self._token, self._context(), user=user)

    def kubeconfig(self, path: Path, *, token: str | None = None) -> Path:
        """Write a kubeconfig for the administrator, or for the holder of `token`, and return its path."""
        certificate = str(self.certificate)
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": self.url, "certificate-authority": certificate}}],
            "users": [{"name": "test", "user": {"token": token or self._token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }
        path.write_text(yaml.safe_dump(content))
        return path

    def requests(self, user: str = "") -> list[Request]:
        """What was asked for so far by `user`, or by anyone but the administrator; watches count once they began."""
        entries = (json.loads(line) for line in self._audit_log.read_text().splitlines())
        return [_request(entry) for entry in entries if _counts(entry) and (not user or _name_of(entry) == user)]

    @property
    def _audit_log(self) -> Path:
        return self._folder / "audit.log"

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    def _write_secrets(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self._folder / "service-accounts.key").write_bytes(pem)
        (self._folder / "audit-policy.json").write_text(json.dumps(_AUDIT_POLICY))
        self._audit_log.touch()
        (self._folder / "tokens.csv").write_text(f'{self._token},admin,admin,"system:masters"\n')

    def _etcd_arguments(self) -> list[str]:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self._etcd_port, self._etcd_peer_port))
        return [
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
        ]

    def _apiserver_arguments(self) -> list[str]:
        key = self._folder / "service-accounts.key"
        return [
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={self._folder / 'certs'}",
            f"--token-auth-file={self._folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/16",
            "--endpoint-reconciler-type=none",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            f"--audit-policy-file={self._folder / 'audit-policy.json'}",
            f"--audit-log-path={self._audit_log}",
            # no controller makes service accounts here, and pods would be refused without
            "--disable-admission-plugins=ServiceAccount",
        ]

    def _start(self, name: str, arguments: list[str]) -> None:
        with self._log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [self._programs / name, *arguments], stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )

    def _stop(self, name: str) -> None:
        process = self._processes.pop(name, None)
        if process is None:
            return
        # these programs take their time to say good-bye, and nothing of theirs is kept
        process.kill()
        process.wait()

    def _wait(self, name: str, url: str, *, verify: bool) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._processes[name].poll() is not None:
                break
            if self._answers(url, verify=verify):
                return
            time.sleep(0.1)
        tail = "\n".join(self._log(name).read_text(errors="replace").splitlines()[-20:])
        raise RuntimeError(f"{name} did not become ready; the end of its log:\n{tail}")

    def _answers(self, url: str, *, verify: bool) -> bool:
        if verify and not self.certificate.is_file():
            return False
        try:
            context = self._context() if verify else False
            headers = {"Authorization": f"Bearer {self._token}"} if verify else {}
            return httpx.get(url, verify=context, headers=headers, timeout=2, trust_env=False).is_success
        except (httpx.TransportError, ssl.SSLError):
            return False

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


def _counts(entry: dict[str, Any]) -> bool:
    return bool(entry["stage"] == ("ResponseStarted" if entry["verb"] == "watch" else "ResponseComplete"))


def _name_of(entry: dict[str, Any]) -> str:
    return entry.get("impersonatedUser", entry["user"])["username"]


def _request(entry: dict[str, Any]) -> Request:
    about = entry.get("objectRef", {})
    fields = {key: about.get(key, "") for key in ("resource", "subresource", "namespace", "name")}
    return Request(
        user=_name_of(entry),
        verb=entry["verb"],
        group=about.get("apiGroup", ""),
        code=entry.get("responseStatus", {}).get("code", 0),
        **fields,
    )


def _free_ports(count: int) -> tuple[int, ...]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return tuple(each.getsockname()[1] for each in sockets)
    finally:
        for each in sockets:
            each.close()
