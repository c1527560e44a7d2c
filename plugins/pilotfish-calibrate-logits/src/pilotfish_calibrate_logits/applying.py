"""The plugin at work in a process of an engine."""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import AutoTokenizer

from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.logits import EngineProcess, SteeredRequest
from pilotfish_calibrate_logits.plugin import Config


class Applying:
    """Divides logits by the temperature and adds the biases."""

    def __init__(self, config: Config, engine: EngineProcess) -> None:
        """Raises ConfigError for a bias whose string is not one token of the model."""
        self._config = config
        tokenizer = AutoTokenizer.from_pretrained(engine.tokenizer, local_files_only=True) if config.bias else None
        tokens = [_token(tokenizer, text) for text in config.bias]
        self._tokens = torch.tensor(tokens, dtype=torch.long, device=engine.device)
        self._bias = torch.tensor(list(config.bias.values()), dtype=torch.float32, device=engine.device)

    def apply(self, *, logits: torch.Tensor, requests: Mapping[int, SteeredRequest]) -> None:
        """Change the rows of the requests for which the plugin is enabled."""
        enabled = [row for row, request in requests.items() if request.values.enabled]
        if enabled and self._config.temperature != 1:
            logits[torch.tensor(enabled, device=logits.device)] /= self._config.temperature
        within = self._config.bias_tokens
        biased = [row for row in enabled if within is None or len(requests[row].output) < within]
        if biased and len(self._tokens):
            logits[torch.tensor(biased, device=logits.device)[:, None], self._tokens] += self._bias

    def end(self, *, request: SteeredRequest) -> None:
        """Nothing is kept for a request."""


def _token(tokenizer: Any, text: str) -> int:
    found: list[int] = tokenizer.encode(text, add_special_tokens=False)
    if len(found) != 1 or found[0] == tokenizer.unk_token_id:
        raise ConfigError(
            f"config.bias.{text}", "is not one token of the pool's model: write it as the API's top_logprobs shows it"
        )
    return found[0]
