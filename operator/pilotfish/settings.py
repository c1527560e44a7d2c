"""Settings of the processes, read once from the environment by the command line. Every field says unit and default."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pilotfish.base.errors import MachineError


@dataclass(frozen=True)
class GatewaySettings:
    """How a gateway listens and what it allows."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8080
    """Port to listen on; 0 takes a free one."""
    max_body_bytes: int = 32 * 1024 * 1024
    """Larger request bodies get 413."""
    api_keys: frozenset[str] = frozenset()
    """Keys that clients may use; empty asks for none."""
    body_timeout_seconds: float = 60.0
    """For a client to send its whole request; slower ones get 408."""
    connect_timeout_seconds: float = 5.0
    """To open a connection to a model server."""
    idle_timeout_seconds: float = 300.0
    """Between two bytes of a model server's answer."""
    upstream_connections: int = 4096
    """Connections to model servers, all together."""
    drain_seconds: float = 30.0
    """Time that open requests get to finish when the gateway stops."""
    record_file: Path | None = None
    """Where a row for every answered request is written (docs/log-schema.md); None writes none."""
    record_max_bytes: int = 256 * 1024 * 1024
    """A file of this size is put aside and a new one begun; three are kept besides it."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "GatewaySettings":
        """Read `PILOTFISH_API_KEYS` (comma-separated), `_HOST`, `_PORT`, `_MAX_BODY_BYTES`, `_DRAIN_SECONDS`,
        `_RECORD_FILE` and `_RECORD_MAX_BYTES`.

        Raises MachineError naming a variable that is wrong.
        """
        return cls(
            host=environ.get("PILOTFISH_HOST") or cls.host,
            port=_whole(environ, "PILOTFISH_PORT", cls.port),
            api_keys=frozenset(key for key in environ.get("PILOTFISH_API_KEYS", "").split(",") if key),
            max_body_bytes=_whole(environ, "PILOTFISH_MAX_BODY_BYTES", cls.max_body_bytes),
            drain_seconds=float(_whole(environ, "PILOTFISH_DRAIN_SECONDS", int(cls.drain_seconds))),
            record_file=Path(environ["PILOTFISH_RECORD_FILE"]) if environ.get("PILOTFISH_RECORD_FILE") else None,
            record_max_bytes=_whole(environ, "PILOTFISH_RECORD_MAX_BYTES", cls.record_max_bytes),
        )


@dataclass(frozen=True)
class OperatorSettings:
    """What the operator knows of its installation."""

    namespace: str
    """Where operator and gateway run, and where the Lease is."""
    identity: str
    """Who holds the Lease: the pod's name."""
    pool_image: str
    """Image of pools' pods."""
    pool_pull_policy: str = "IfNotPresent"
    """When the kubelet pulls it."""
    pool_runtime: str = "Auto"
    """Runtime of pools that leave it open: Auto, RayService or Deployment."""
    watch_namespaces: tuple[str, ...] = ()
    """Namespaces to act in; empty is the whole cluster."""
    gateway_service: str = "pilotfish-gateway"
    """The gateway's Service, whose replicas are asked for their load."""
    gateway_url: str | None = None
    """The address that clients call, ending in /v1; shown in the status of routers."""
    cache_claim: str | None = None
    """A volume claim for fetched weights in each namespace with pools; None: each pod fetches its own."""
    kuberay_namespace: str | None = None
    """Where KubeRay's operator runs, which may reach Ray's dashboards; None: a pod with its labels anywhere may."""
    accelerators: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Labels of the nodes that have an accelerator, by `spec.accelerator.type` of pools."""
    traces_endpoint: str | None = None
    """OTLP/HTTP address that engines export spans to."""
    lease: str = "pilotfish-operator"
    """Name of the Lease."""
    host: str = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus ask from outside the pod
    """Address for health and metrics."""
    port: int = 8081
    """Port for health and metrics; 0 takes a free one."""
    workers: int = 8
    """Resources that are worked on at the same time."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "OperatorSettings":
        """Read PILOTFISH_*. Raises MachineError naming a variable that is missing or wrong."""
        missing = [name for name in ("PILOTFISH_NAMESPACE", "PILOTFISH_POOL_IMAGE") if not environ.get(name)]
        if missing:
            raise MachineError(f"set {' and '.join(missing)}: the chart does")
        namespaces = tuple(name for name in environ.get("PILOTFISH_WATCH_NAMESPACES", "").split(",") if name)
        return cls(
            namespace=environ["PILOTFISH_NAMESPACE"],
            identity=environ.get("PILOTFISH_POD_NAME") or environ.get("HOSTNAME") or "pilotfish-operator",
            pool_image=environ["PILOTFISH_POOL_IMAGE"],
            pool_pull_policy=environ.get("PILOTFISH_POOL_IMAGE_PULL_POLICY") or cls.pool_pull_policy,
            pool_runtime=environ.get("PILOTFISH_POOL_RUNTIME") or cls.pool_runtime,
            watch_namespaces=namespaces,
            gateway_service=environ.get("PILOTFISH_GATEWAY_SERVICE") or cls.gateway_service,
            gateway_url=environ.get("PILOTFISH_GATEWAY_URL") or None,
            cache_claim=environ.get("PILOTFISH_POOL_CACHE_CLAIM") or None,
            kuberay_namespace=environ.get("PILOTFISH_KUBERAY_NAMESPACE") or None,
            accelerators=_accelerators(environ),
            traces_endpoint=_traces_endpoint(environ),
            lease=environ.get("PILOTFISH_LEASE") or cls.lease,
            port=_whole(environ, "PILOTFISH_METRICS_PORT", cls.port),
            workers=_whole(environ, "PILOTFISH_WORKERS", cls.workers),
        )


def _accelerators(environ: Mapping[str, str]) -> Mapping[str, Mapping[str, str]]:
    text = environ.get("PILOTFISH_ACCELERATORS") or "{}"
    try:
        return TypeAdapter(dict[str, dict[str, str]]).validate_json(text)
    except ValidationError as error:
        raise MachineError(
            'PILOTFISH_ACCELERATORS must be JSON such as {"nvidia-l4": {"nvidia.com/gpu.product": "NVIDIA-L4"}}; '
            f"it is {text!r}"
        ) from error


def _traces_endpoint(environ: Mapping[str, str]) -> str | None:
    base = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    return environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or (f"{base.rstrip('/')}/v1/traces" if base else None)


def _whole(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "")
    if text and not text.isdigit():
        raise MachineError(f"{name} must be a whole number; it is {text!r}")
    return int(text) if text else default


def models_cache(environ: Mapping[str, str]) -> Path:
    """Where fetched models are kept: `models` in `PILOTFISH_CACHE`, or in `pilotfish` in the user's cache folder."""
    own = environ.get("PILOTFISH_CACHE")
    if own:
        return Path(own) / "models"
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pilotfish" / "models"


@dataclass(frozen=True)
class ClusterGatewaySettings:
    """How a gateway works in a cluster."""

    gateway: GatewaySettings
    """How it listens."""
    namespaces: tuple[str, ...] = ()
    """Namespaces whose routers and pools it serves; empty is the whole cluster."""
    serve_pools: bool = True
    """Whether a pool can be called by its own name where no router has it."""
    log_level: str = "INFO"
    """Python's names of levels."""
    peers: str | None = None
    """`name:port` whose addresses are all the gateways, for objectives that they hold together; None: it is alone."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "ClusterGatewaySettings":
        """Read PILOTFISH_*. Raises MachineError naming a variable that is wrong."""
        return cls(
            gateway=GatewaySettings.from_environment(environ),
            namespaces=tuple(name for name in environ.get("PILOTFISH_WATCH_NAMESPACES", "").split(",") if name),
            serve_pools=environ.get("PILOTFISH_SERVE_POOLS", "true").lower() != "false",
            log_level=log_level(environ),
            peers=_peers(environ),
        )


def _peers(environ: Mapping[str, str]) -> str | None:
    text = environ.get("PILOTFISH_PEERS") or None
    if text and not (text.rpartition(":")[0] and text.rpartition(":")[2].isdigit()):
        raise MachineError(f"PILOTFISH_PEERS must be name:port, as of a headless Service; it is {text!r}")
    return text


def log_level(environ: Mapping[str, str]) -> str:
    """PILOTFISH_LOG_LEVEL in capitals, INFO where it is not set. Raises MachineError where it is no level."""
    level = (environ.get("PILOTFISH_LOG_LEVEL") or "INFO").upper()
    if level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise MachineError(f"PILOTFISH_LOG_LEVEL must be debug, info, warning or error; it is {level!r}")
    return level
