"""Settings of the processes, which the command line reads once from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pilotfish.base.errors import MachineError


@dataclass(frozen=True)
class GatewaySettings:
    """Settings of a gateway."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8080
    """Port to listen on; 0 chooses a free port."""
    max_body_bytes: int = 32 * 1024 * 1024
    """Maximum size of a request body, bytes. Larger ones get status 413."""
    api_keys: frozenset[str] = frozenset()
    """API keys of clients. If empty, no key is required."""
    body_timeout_seconds: float = 60.0
    """Maximum time for a client to send its request. Slower ones get status 408."""
    connect_timeout_seconds: float = 5.0
    """Timeout for opening a connection to a model server."""
    idle_timeout_seconds: float = 300.0
    """Timeout between two reads of a model server's response."""
    upstream_connections: int = 4096
    """Maximum number of connections to all model servers."""
    drain_seconds: float = 30.0
    """Time for requests in progress to finish when the gateway stops."""
    record_file: Path | None = None
    """The file for the log of requests (docs/log-schema.md). None writes no log."""
    record_max_bytes: int = 256 * 1024 * 1024
    """Size at which the log is rotated, bytes. Three old files are kept."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "GatewaySettings":
        """Read `PILOTFISH_API_KEYS` (comma-separated), `_HOST`, `_PORT`, `_MAX_BODY_BYTES`, `_DRAIN_SECONDS`,
        `_RECORD_FILE` and `_RECORD_MAX_BYTES`.

        Raises MachineError with the name of an invalid variable.
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
    """Settings of the operator."""

    namespace: str
    """The namespace of operator, gateway and Lease."""
    identity: str
    """The holder's identity in the Lease: the name of the pod."""
    pool_image: str
    """Image of the pods of pools."""
    pool_pull_policy: str = "IfNotPresent"
    """Pull policy of that image."""
    pool_runtime: str = "Auto"
    """Runtime of pools with runtime Auto: Auto, RayService or Deployment."""
    watch_namespaces: tuple[str, ...] = ()
    """Namespaces to process. If empty, all namespaces."""
    gateway_service: str = "pilotfish-gateway"
    """The gateway's Service, whose replicas report the load."""
    gateway_url: str | None = None
    """The base URL for clients, ending in /v1. Shown in the status of routers."""
    cache_claim: str | None = None
    """Name of a PersistentVolumeClaim for fetched weights in each namespace with pools. None: each pod fetches them."""
    image: str = ""
    """Image of the Jobs of plugins: that of operator and gateway, or another one with more plugins."""
    prepared_claim: str | None = None
    """Name of a PersistentVolumeClaim for what plugins prepare, in each namespace. None: nothing is prepared."""
    kuberay_namespace: str | None = None
    """Namespace of KubeRay's operator, which may reach Ray's dashboards. None: pods with its labels anywhere may."""
    accelerators: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Node labels by the `spec.accelerator.type` of pools."""
    traces_endpoint: str | None = None
    """OTLP/HTTP endpoint for the engines' spans."""
    lease: str = "pilotfish-operator"
    """Name of the Lease."""
    host: str = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus ask from outside the pod
    """Address for health and metrics."""
    port: int = 8081
    """Port for health and metrics; 0 chooses a free port."""
    workers: int = 8
    """Number of resources that are reconciled at the same time."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "OperatorSettings":
        """Read PILOTFISH_*. Raises MachineError with the name of a missing or invalid variable."""
        missing = [name for name in ("PILOTFISH_NAMESPACE", "PILOTFISH_POOL_IMAGE") if not environ.get(name)]
        if missing:
            raise MachineError(f"{' and '.join(missing)} must be set, as the chart does")
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
            image=environ.get("PILOTFISH_IMAGE", ""),
            prepared_claim=environ.get("PILOTFISH_PREPARED_CLAIM") or None,
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
            f"got {text!r}"
        ) from error


def _traces_endpoint(environ: Mapping[str, str]) -> str | None:
    base = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    return environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or (f"{base.rstrip('/')}/v1/traces" if base else None)


def _whole(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "")
    if text and not text.isdigit():
        raise MachineError(f"{name} must be a whole number; got {text!r}")
    return int(text) if text else default


def models_cache(environ: Mapping[str, str]) -> Path:
    """The folder for fetched weights: `models` in `PILOTFISH_CACHE`, or in `pilotfish` in the user's cache folder."""
    own = environ.get("PILOTFISH_CACHE")
    if own:
        return Path(own) / "models"
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pilotfish" / "models"


@dataclass(frozen=True)
class ClusterGatewaySettings:
    """Settings of a gateway in a cluster."""

    gateway: GatewaySettings
    """The settings of any gateway."""
    namespaces: tuple[str, ...] = ()
    """Namespaces whose routers and pools it serves. If empty, all namespaces."""
    serve_pools: bool = True
    """Whether clients can call a pool by its own name, if no router has it."""
    log_level: str = "INFO"
    """Log level, by its name in Python."""
    prepared: Path | None = None
    """The folder at which what plugins prepared is mounted. None: no plugin is prepared."""
    peers: str | None = None
    """`name:port` that resolves to all gateways, for objectives. None: there is one gateway."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "ClusterGatewaySettings":
        """Read PILOTFISH_*. Raises MachineError with the name of an invalid variable."""
        return cls(
            gateway=GatewaySettings.from_environment(environ),
            namespaces=tuple(name for name in environ.get("PILOTFISH_WATCH_NAMESPACES", "").split(",") if name),
            serve_pools=environ.get("PILOTFISH_SERVE_POOLS", "true").lower() != "false",
            log_level=log_level(environ),
            prepared=Path(environ["PILOTFISH_PREPARED"]) if environ.get("PILOTFISH_PREPARED") else None,
            peers=_peers(environ),
        )


def _peers(environ: Mapping[str, str]) -> str | None:
    text = environ.get("PILOTFISH_PEERS") or None
    if text and not (text.rpartition(":")[0] and text.rpartition(":")[2].isdigit()):
        raise MachineError(f"PILOTFISH_PEERS must be name:port of a headless Service; got {text!r}")
    return text


def log_level(environ: Mapping[str, str]) -> str:
    """PILOTFISH_LOG_LEVEL in capitals, by default INFO. Raises MachineError if it is not a level."""
    level = (environ.get("PILOTFISH_LOG_LEVEL") or "INFO").upper()
    if level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise MachineError(f"PILOTFISH_LOG_LEVEL must be debug, info, warning or error; got {level!r}")
    return level
