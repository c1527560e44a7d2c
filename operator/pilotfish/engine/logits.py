"""Logits plugins inside an engine: `pilotfish.engine.logits:<type>` is a logits processor of vLLM for each plugin.

The server of an engine checks the parameters of requests with it. The engine's processes make it, with the settings
that `render/logits.py` writes.
"""

import logging
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from vllm import SamplingParams
from vllm.config import VllmConfig
from vllm.distributed import get_tp_group
from vllm.exceptions import VLLMValidationError
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.logits import EngineProcess, LogitsPlugin, SteeredRequest
from pilotfish.plugin_api.settings import Settings
from pilotfish.plugins.extension_points import LOGITS
from pilotfish.plugins.registry import Registry
from pilotfish.render.logits import SETTINGS

logger = logging.getLogger(__name__)


class PluginProcessor(LogitsProcessor):
    """One plugin as vLLM calls it."""

    kind: ClassVar[str]
    plugin: ClassVar[type[LogitsPlugin]]

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Raises VLLMValidationError, which becomes status 400, with the name of the parameter."""
        try:
            cls.plugin.request_values(arguments=cls._arguments(sampling_params))
        except ConfigError as error:
            name = f"{cls.kind}.{error.field}"
            raise VLLMValidationError(f"vllm_xargs: {name}: {error.message}", parameter=f"vllm_xargs.{name}") from error

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        """Raises ConfigError for settings that the plugin rejects, and what the plugin raises when it is opened."""
        settings: Mapping[str, Any] = vllm_config.additional_config[SETTINGS][self.kind]  # type: ignore[index]
        made = self.plugin.from_settings(Settings(settings["config"]))
        self._process = made.open(engine=_engine_process(vllm_config, torch.device(device), settings["models"]))
        self._rows: dict[int, SteeredRequest] = {}
        self._warned = False

    def is_argmax_invariant(self) -> bool:
        """False: vLLM skips invariant processors for greedy requests."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the batch: requests that came, went and moved to other rows."""
        if batch_update is None:
            return
        before = set(self._rows.values())
        process_dict_updates(self._rows, batch_update, self._request)
        for request in before - set(self._rows.values()):
            self._process.end(request=request)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Let the plugin change the rows of its requests.

        A row whose last token is not known is left as it is. With asynchronous scheduling, vLLM writes -1 for a token
        that is not copied from the device yet, and replaces it before it samples.
        """
        known = {row: each for row, each in self._rows.items() if not each.output or each.output[-1] >= 0}
        if len(known) < len(self._rows) and not self._warned:
            self._warned = True
            logger.warning(
                "logits plugin %s: the last token of a request is not known: a step is not steered", self.kind
            )
        if known:
            self._process.apply(logits=logits, requests=known)
        return logits

    @classmethod
    def _arguments(cls, params: SamplingParams) -> dict[str, Any]:
        prefix = f"{cls.kind}."
        given = params.extra_args or {}
        return {name.removeprefix(prefix): value for name, value in given.items() if name.startswith(prefix)}

    def _request(self, params: SamplingParams, prompt: list[int] | None, output: list[int]) -> SteeredRequest | None:
        if prompt is None:
            logger.warning("logits plugin %s: a request with embeddings as its prompt is not steered", self.kind)
            return None
        return SteeredRequest(self.plugin.request_values(arguments=self._arguments(params)), prompt, output)


def _engine_process(config: VllmConfig, device: torch.device, models: Mapping[str, str]) -> EngineProcess:
    group = get_tp_group()
    return EngineProcess(
        device=device,
        dtype=config.model_config.dtype,
        max_model_length=config.model_config.max_model_len,
        max_requests=config.scheduler_config.max_num_seqs,
        max_step_tokens=config.scheduler_config.max_num_batched_tokens,
        tokenizer=Path(config.model_config.tokenizer),
        models={role: Path(folder) for role, folder in models.items()},
        rank=group.rank_in_group,
        ranks=group.world_size,
        broadcast=partial(_broadcast, group),
    )


def _broadcast(group: Any, tensor: torch.Tensor, source: int) -> torch.Tensor:
    sent: torch.Tensor = group.broadcast(tensor, src=source)
    return sent


@cache
def _processor(kind: str) -> type[PluginProcessor]:
    plugin = Registry.installed().load(LOGITS, kind)
    return type(kind, (PluginProcessor,), {"__module__": __name__, "kind": kind, "plugin": plugin})


def __getattr__(name: str) -> type[PluginProcessor]:
    """The processor of a plugin, by its type. Raises PluginError for one that cannot be loaded."""
    if name not in Registry.installed().names(LOGITS):
        raise AttributeError(f"no logits plugin {name!r} is installed where the engine runs: install its package there")
    return _processor(name)
