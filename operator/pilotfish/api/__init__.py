"""The four kinds as Pydantic models, from which the CRDs are generated. Nothing here does I/O."""

from pilotfish.api.adaptationplugin import AdaptationPlugin
from pilotfish.api.autoscalingpolicy import AutoscalingPolicy
from pilotfish.api.common import API_VERSION, GROUP, VERSION
from pilotfish.api.modelpool import ModelPool
from pilotfish.api.modelrouter import ModelRouter

Resource = ModelPool | ModelRouter | AdaptationPlugin | AutoscalingPolicy

KINDS: dict[str, type[Resource]] = {
    "ModelPool": ModelPool,
    "ModelRouter": ModelRouter,
    "AdaptationPlugin": AdaptationPlugin,
    "AutoscalingPolicy": AutoscalingPolicy,
}

__all__ = [
    "API_VERSION",
    "GROUP",
    "KINDS",
    "VERSION",
    "AdaptationPlugin",
    "AutoscalingPolicy",
    "ModelPool",
    "ModelRouter",
    "Resource",
]
