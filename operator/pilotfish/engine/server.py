"""The Serve deployment that holds a pool's engine: Ray's, less what pools do not need, with local adapters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray.llm._internal.serve.engines.vllm.vllm_engine import VLLMEngine
from ray.serve.llm import LLMConfig
from ray.serve.llm.deployment import LLMServer
from vllm.utils.ompmultiprocessing import OMPProcessManager

from pilotfish.engine.own_log import logged_exception
from pilotfish.engine.vocabularies import check_vocabularies

ADAPTERS = "pilotfish_adapters"
"""Key in the experimental part of Ray's configuration: folders of LoRA adapters, by the name that clients write."""


@dataclass(frozen=True)
class _LocalAdapter:
    """What the engine asks of an adapter that it is to load."""

    model_id: str
    local_path: str


class OneProcessEngine(VLLMEngine):  # type: ignore[misc]  # Ray is not typed
    """vLLM with its only worker in the process of the engine's core, which saves a process that imports all of vLLM.

    vLLM on the CPU takes a process for the worker, as OpenMP reads its variables when a process begins. Here the core's
    process begins with them.
    """

    def _prepare_engine_config(self, callback_ctx: Any) -> Any:
        arguments, frontend, config = super()._prepare_engine_config(callback_ctx)
        if is_for_cpu(config) and config.parallel_config.world_size == 1:
            config.parallel_config.distributed_executor_backend = "uni"
        return arguments, frontend, config

    def _start_async_llm_engine(self, vllm_engine_args: Any, vllm_engine_config: Any, placement_group: Any) -> Any:
        if vllm_engine_config.parallel_config.distributed_executor_backend != "uni":
            return super()._start_async_llm_engine(vllm_engine_args, vllm_engine_config, placement_group)
        with OMPProcessManager(vllm_engine_config).configure_omp_envs(rank=0, local_rank=0):
            return super()._start_async_llm_engine(vllm_engine_args, vllm_engine_config, placement_group)


def is_for_cpu(config: Any) -> bool:
    """Whether a configuration of vLLM is for the CPU."""
    return bool(config.device_config.device_type == "cpu")


class PoolServer(LLMServer):  # type: ignore[misc]  # Ray is not typed
    """One engine, its weights and adapters already on this machine."""

    _default_engine_cls = OneProcessEngine

    async def start(self) -> None:
        """Start the engine, then load the adapters.

        Ray's own start sends a task through a fresh worker to see whether weights must be downloaded, and begins an
        actor for usage reports; each imports the whole of vLLM again, which on few cores is most of the start.

        Raises ValueError for a model of a logits plugin with another vocabulary, before anything is loaded.

        Raises RuntimeError with the cause in one line where the engine's own process failed, since Serve, and with it a
        RayService, shows what is raised here.
        """
        check_vocabularies(self._llm_config.model_dump(include={"engine_kwargs", "model_loading_config"}))
        self._llm_config.get_or_create_callback().ctx.run_init_node = False
        self.engine = self._engine_cls(self._llm_config)
        try:
            await self.engine.start()
        except RuntimeError as failure:
            if exception := logged_exception():
                raise RuntimeError(exception) from failure
            raise
        for name, folder in self._llm_config.experimental_configs.get(ADAPTERS, {}).items():
            await self.engine.resolve_lora(_LocalAdapter(name, folder))

    async def _maybe_resolve_lora_from_multiplex(self) -> None:
        """Adapters are loaded at the start. vLLM rejects unknown names."""


async def start(llm_config: Mapping[str, Any]) -> PoolServer:
    """A server whose engine has started. Raises RuntimeError with the cause where it does not start."""
    server: PoolServer = PoolServer.sync_init(LLMConfig.model_validate(llm_config))
    await server.start()
    return server
