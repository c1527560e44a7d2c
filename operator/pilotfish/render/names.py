"""Names inside Ray: of Serve applications and their deployments. Names of Kubernetes objects are in `labels`."""

from pilotfish.api import ModelPool

INGRESS_DEPLOYMENT = "OpenAiIngress"
"""The deployment that serves HTTP and forwards requests to the engine's replicas."""


def served_model(pool: ModelPool) -> str:
    """What the engine calls the model: the pool's name."""
    return pool.name


def engine_deployment(pool: ModelPool) -> str:
    """The deployment whose replicas hold engines. Ray derives it from the model's name in this way."""
    return "PoolServer:" + served_model(pool).replace("/", "--").replace(".", "_")
