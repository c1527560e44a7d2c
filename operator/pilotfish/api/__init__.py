"""The kinds as Pydantic models, from which the CRDs are generated. Nothing here does I/O."""

from pilotfish.api.adaptationplugin import AdaptationPlugin
from pilotfish.api.autoscalingpolicy import AutoscalingPolicy
from pilotfish.api.common import API_VERSION, GROUP, VERSION
from pilotfish.api.modelpool import ModelPool
from pilotfish.api.modelrouter import ModelRouter
from pilotfish.api.resource import Resource

__all__ = [
    "API_VERSION",
    "GROUP",
    "VERSION",
    "AdaptationPlugin",
    "AutoscalingPolicy",
    "ModelPool",
    "ModelRouter",
    "Resource",
]
