"""The types of objects that are read or written, and their paths at the API server."""

from dataclasses import dataclass

from pilotfish.api import GROUP, VERSION, Resource


@dataclass(frozen=True)
class ResourceType:
    """A type of objects at the API server."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """As in a manifest."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL's path, of a collection or of one object."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"
        within = f"/namespaces/{namespace}" if namespace else ""
        parts = [f"{root}{within}/{self.plural}", name, subresource]
        return "/".join(part for part in parts if part)


def declared(model: type[Resource]) -> ResourceType:
    """The type of a kind of ours."""
    return ResourceType(GROUP, VERSION, model.definition.plural, model.__name__)


DEPLOYMENTS = ResourceType("apps", "v1", "deployments", "Deployment")
SERVICES = ResourceType("", "v1", "services", "Service")
NETWORK_POLICIES = ResourceType("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
JOBS = ResourceType("batch", "v1", "jobs", "Job")
RAY_SERVICES = ResourceType("ray.io", "v1", "rayservices", "RayService")

PODS = ResourceType("", "v1", "pods", "Pod")
SECRETS = ResourceType("", "v1", "secrets", "Secret")
CONFIG_MAPS = ResourceType("", "v1", "configmaps", "ConfigMap")
ENDPOINT_SLICES = ResourceType("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
EVENTS = ResourceType("events.k8s.io", "v1", "events", "Event")
LEASES = ResourceType("coordination.k8s.io", "v1", "leases", "Lease")
