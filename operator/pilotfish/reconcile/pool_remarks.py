"""What is accepted of a pool and may do less, or cost more, than whoever wrote it thinks."""

from collections.abc import Iterator

from pilotfish.api import ModelPool
from pilotfish.api.modelpool import RolloutType
from pilotfish.api.pod import Pod
from pilotfish.render.context import RenderContext


def remarks(pool: ModelPool, context: RenderContext) -> Iterator[str]:
    """A sentence each, with the field's path."""
    accelerator, pod = pool.spec.accelerator, pool.spec.pod or Pod()
    chosen = pod.node_selector or pod.affinity
    if accelerator and accelerator.type not in context.accelerators and not chosen:
        yield (
            f"spec.accelerator.type: the installation has no node labels for {accelerator.type!r}, so any node with"
            f" {accelerator.resource_name} will do: add them to the chart's pools.accelerators, or set"
            " spec.pod.nodeSelector"
        )
    if pool.spec.rollout and pool.spec.rollout.type is RolloutType.RECREATE:
        yield (
            "spec.rollout.type: with Recreate, a change of what replicas run is an outage: the old ones end before the"
            " new ones load the model"
        )
