"""The kinds that are read or written, and their paths at the API server."""

from dataclasses import dataclass

from pilotfish.api import GROUP, VERSION


@dataclass(frozen=True)
class Resource:
    """A kind at the API server."""

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


MODEL_POOLS = Resource(GROUP, VERSION, "modelpools", "ModelPool")
MODEL_ROUTERS = Resource(GROUP, VERSION, "modelrouters", "ModelRouter")
ADAPTATION_PLUGINS = Resource(GROUP, VERSION, "adaptationplugins", "AdaptationPlugin")
AUTOSCALING_POLICIES = Resource(GROUP, VERSION, "autoscalingpolicies", "AutoscalingPolicy")
OURS = (MODEL_POOLS, MODEL_ROUTERS, ADAPTATION_PLUGINS, AUTOSCALING_POLICIES)

DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
SERVICES = Resource("", "v1", "services", "Service")
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
RAY_SERVICES = Resource("ray.io", "v1", "rayservices", "RayService")
CHILDREN = (DEPLOYMENTS, SERVICES, NETWORK_POLICIES, RAY_SERVICES)

PODS = Resource("", "v1", "pods", "Pod")
SECRETS = Resource("", "v1", "secrets", "Secret")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")

BY_KIND = {resource.kind: resource for resource in (*OURS, *CHILDREN)}
