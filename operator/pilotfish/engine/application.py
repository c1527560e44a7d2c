"""A pool as one Serve deployment that takes HTTP itself: no second process that imports vLLM to pass requests on.

Serve builds applications in a process of its own, so this module imports nothing heavy: a replica imports its engine.
"""

from collections.abc import Mapping
from typing import Any

from ray import serve


@serve.ingress()
class PoolReplica:
    """One engine and vLLM's own OpenAI application in front of it."""

    async def __init__(self, llm_config: Mapping[str, Any]) -> None:  # type: ignore[misc]  # as Serve allows it
        """Start the engine. Raises RuntimeError with the cause where it does not start."""
        from pilotfish.engine import server  # noqa: PLC0415 - imports all of vLLM

        self._server = await server.start(llm_config)

    async def __serve_build_asgi_app__(self) -> Any:
        """The application that answers requests, as Serve asks for it once the engine has started."""
        return await self._server.__serve_build_asgi_app__()

    async def check_health(self) -> None:
        """Raise what ended the engine; Serve then starts another replica."""
        await self._server.check_health()


def build(arguments: Mapping[str, Any]) -> Any:
    """The application of `arguments`, which hold one configuration of Ray's LLMServer under `llm_configs`."""
    [config] = arguments["llm_configs"]
    options = dict(config["deployment_config"])
    # what Ray's LLMServer gets by its own builder: a bundle for the engine, with the replica in it
    [bundle] = config["placement_group_config"]["bundles"]
    replica = options["ray_actor_options"]["num_cpus"]
    deployment = serve.deployment(
        PoolReplica,
        name=arguments["name"],
        placement_group_bundles=[{**bundle, "CPU": bundle["CPU"] + replica}],
        placement_group_strategy=config["placement_group_config"]["strategy"],
        **options,
    )
    return deployment.bind(config)
