"""A small causal language model in the process of an engine: many requests in one forward pass, a bounded KV cache."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM

from pilotfish.base.errors import ConfigError
from pilotfish_proxy_tuning.attention import NAME, KeyValues, Packed, Piece, packed_attention
from pilotfish_proxy_tuning.blocks import BLOCK, Blocks, Held

AttentionInterface.register(NAME, packed_attention)


@dataclass(frozen=True)
class Limits:
    """Tokens in the KV cache, at least those of the longest request, and tokens of one forward pass."""

    cache_tokens: int
    step_tokens: int


@dataclass
class _Turn:
    """A request in a wave: its row of the result, its tokens, and how many of them are computed."""

    row: int
    tokens: Sequence[int]
    held: Held
    done: int


def vocabulary_of(folder: Path) -> int:
    """The number of logits of a model."""
    size: int = AutoConfig.from_pretrained(folder).get_text_config().vocab_size
    return size


class Expert:
    """The model, on one device. Logits are those of a loop over single requests, up to rounding."""

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype, limits: Limits) -> None:
        """Loads the model and allocates its cache. Raises ConfigError for a model whose attention is not supported."""
        self._limits, self._device = limits, device
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()
        if not self._model._supports_attention_backend:
            kind = type(self._model).__name__
            raise ConfigError(
                "models", f"{folder}: {kind} cannot be steered with: use a decoder such as Qwen2 or Llama"
            )
        self._model.set_attn_implementation(NAME)
        self._blocks = Blocks(limits.cache_tokens)
        self._cache = KeyValues(self._blocks.count * BLOCK)
        self.vocabulary = vocabulary_of(folder)
        self.next_logits([(self, [0])])
        self.release(self)

    @property
    def blocks(self) -> Blocks:
        """The cache's blocks."""
        return self._blocks

    def next_logits(self, asked: Sequence[tuple[Hashable, Sequence[int]]]) -> torch.Tensor:
        """Logits of the token after each request's tokens, [requests, vocabulary].

        What was computed in earlier calls for a request is not computed again, if its tokens begin with the same ones.
        """
        found = torch.empty(len(asked), self.vocabulary, dtype=self._model.dtype, device=self._device)
        begin = 0
        while begin < len(asked):
            fits = self._blocks.fit([len(tokens) for _, tokens in asked[begin:]])
            wave = asked[begin : begin + max(fits, 1)]
            self._compute(wave, begin, found)
            begin += len(wave)
        return found

    def release(self, request: Hashable) -> None:
        """Free the cache of a request that has ended."""
        self._blocks.release(request)

    def _compute(self, wave: Sequence[tuple[Hashable, Sequence[int]]], begin: int, found: torch.Tensor) -> None:
        """Compute requests that fit into the cache together, into the rows of `found` from `begin` on."""
        beside = {request for request, _ in wave}
        turns = []
        for row, (request, tokens) in enumerate(wave, begin):
            held = self._blocks.take(request, len(tokens), beside)
            turns.append(_Turn(row, tokens, held, held.keep(tokens)))
        for turn_pieces in self._passes(turns):
            self._forward(turn_pieces, found)

    def _passes(self, turns: Sequence[_Turn]) -> Iterator[list[tuple[_Turn, int]]]:
        """Forward passes of at most `step_tokens` tokens: requests, and how many of their tokens are computed."""
        packed: list[tuple[_Turn, int]] = []
        room = self._limits.step_tokens
        for turn in turns:
            left = len(turn.tokens) - turn.done
            while left:
                count = min(left, room)
                packed.append((turn, count))
                left, room = left - count, room - count
                if not room:
                    yield packed
                    packed, room = [], self._limits.step_tokens
        if packed:
            yield packed

    def _forward(self, turns: Sequence[tuple[_Turn, int]], found: torch.Tensor) -> None:
        tokens: list[int] = []
        pieces = []
        for turn, count in turns:
            end = turn.done + count
            pieces.append(Piece(count, tuple(turn.held.places(0, end))))
            tokens += turn.tokens[turn.done : end]
        packed = Packed(pieces, self._cache, self._device)
        with torch.no_grad():
            logits = self._model(
                input_ids=torch.tensor([tokens], device=self._device),
                position_ids=packed.positions,
                use_cache=False,
                logits_to_keep=packed.last_rows.to(self._device),
                packed=packed,
            ).logits[0]
        for row, (turn, count) in enumerate(turns):
            turn.held.tokens += turn.tokens[turn.done : turn.done + count]
            turn.done += count
            if turn.done == len(turn.tokens):
                found[turn.row] = logits[row]
