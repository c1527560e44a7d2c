"""Engine arguments that have a field in the API. They are rejected, because they could contradict the field."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pilotfish.api.modelpool import ModelPool
from pilotfish.api.reasons import Reason
from pilotfish.api.validation import Fault

OWNED_ENGINE_ARGS: Mapping[str, str] = MappingProxyType(
    {
        "model": "spec.model.uri",
        "revision": "spec.model.revision",
        "hf_token": "spec.model.credentialsSecretRef",
        "served_model_name": "metadata.name, or a router's spec.servedModelNames",
        "task": "spec.task",
        "runner": "spec.task",
        "max_model_len": "spec.engine.maxModelLength",
        "tensor_parallel_size": "spec.engine.tensorParallelSize",
        "pipeline_parallel_size": "spec.engine.pipelineParallelSize",
        "speculative_config": "spec.engine.speculative",
        "nnodes": "spec.nodes",
        "enable_lora": "spec.adapters",
        "lora_modules": "spec.adapters",
    }
)
"""vLLM's argument, and the field to set instead."""


def owned_engine_arg(name: str) -> str | None:
    """The field to set instead of the engine argument `name`, spelled `a_b` or `a-b`; None if there is none."""
    return OWNED_ENGINE_ARGS.get(name.replace("-", "_"))


def engine_arg_faults(pool: ModelPool) -> tuple[Fault, ...]:
    """A fault for each of the pool's engine arguments that has a field. Such a pool is not accepted."""
    args: Mapping[str, Any] = pool.engine.args
    return tuple(
        Fault(
            ("spec", "engine", "args", name),
            f"must not be set here: remove it, and set {field} instead",
            Reason.RESERVED_ENGINE_ARGUMENT,
        )
        for name in args
        if (field := owned_engine_arg(name)) is not None
    )
