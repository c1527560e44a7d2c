"""The Serve deployment that holds a pool's engine: Ray's, less what pools do not need, with local adapters."""

from dataclasses import dataclass

from ray.serve.llm.deployment import LLMServer

from pilotfish.engine.own_log import logged_exception

ADAPTERS = "pilotfish_adapters"
"""Key in the experimental part of Ray's configuration: folders of LoRA adapters, by the name that clients write."""


@dataclass(frozen=True)
class _LocalAdapter:
    """What the engine asks of an adapter that it is to load."""

    model_id: str
    local_path: str


class PoolServer(LLMServer):  # type: ignore[misc]  # Ray is not typed
    """One engine, its weights and adapters already on this machine."""

    async def start(self) -> None:
        """Start the engine, then load the adapters.

        Ray's own start sends a task through a fresh worker to see whether weights must be downloaded, and begins an
        actor for usage reports; each imports the whole of vLLM again, which on few cores is most of the start.

        Raises RuntimeError with the cause in one line where the engine's own process failed, since Serve, and with it a
        RayService, shows what is raised here.
        """
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
