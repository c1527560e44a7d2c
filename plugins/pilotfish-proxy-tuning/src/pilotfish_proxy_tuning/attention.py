"""Attention over packed requests: the tokens of many requests in one pass, keys and values in a shared cache."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

NAME = "pilotfish_packed"
"""The name under which transformers finds `packed_attention`."""


@dataclass(frozen=True)
class Piece:
    """Tokens of one request in a forward pass: `count` of them, the last at position `end - 1`.

    `places` are the places in the cache of the positions 0 to `end`, exclusive.
    """

    count: int
    places: tuple[int, ...]

    @property
    def end(self) -> int:
        """Tokens of the request up to the last one of the piece."""
        return len(self.places)


@dataclass(frozen=True)
class Layer:
    """The number of a layer, the factor of its scores, and how many tokens back it attends, None: all."""

    number: int
    scale: float
    window: int | None = None


class KeyValues:
    """The keys and values of every layer: two tensors [places, heads, dimension], made when a layer first runs."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def write(
        self, layer: int, at: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store keys and values [tokens, heads, dimension] at their places. Returns those of all places."""
        if layer not in self._layers:
            self._layers[layer] = (
                keys.new_zeros(self._places, *keys.shape[1:]),
                values.new_zeros(self._places, *values.shape[1:]),
            )
        all_keys, all_values = self._layers[layer]
        all_keys[at] = keys
        all_values[at] = values
        return all_keys, all_values


@dataclass
class Packed:
    """One forward pass over pieces, which follow each other along the dimension of tokens."""

    pieces: Sequence[Piece]
    cache: KeyValues
    device: torch.device
    _masks: dict[Any, torch.Tensor] = field(default_factory=dict)

    @cached_property
    def last_rows(self) -> torch.Tensor:
        """The row of the last token of each piece."""
        return torch.tensor([sum(each.count for each in self.pieces[: n + 1]) - 1 for n in range(len(self.pieces))])

    @cached_property
    def positions(self) -> torch.Tensor:
        """The position of each token in its request, [1, tokens]."""
        found = [at for each in self.pieces for at in range(each.end - each.count, each.end)]
        return torch.tensor([found], device=self.device)

    @cached_property
    def _new(self) -> torch.Tensor:
        """The place of each token in the cache, [tokens]."""
        found = [place for each in self.pieces for place in each.places[each.end - each.count :]]
        return torch.tensor(found, device=self.device)

    @cached_property
    def _starts(self) -> list[int]:
        starts, total = [], 0
        for each in self.pieces:
            starts.append(total)
            total += each.count
        return starts

    @cached_property
    def _steps(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pieces of one token: their rows, and the places and lengths of what they attend to, padded with place 0."""
        single = [(start, each) for start, each in zip(self._starts, self.pieces, strict=True) if each.count == 1]
        longest = max((each.end for _, each in single), default=0)
        places = [[*each.places, *[0] * (longest - each.end)] for _, each in single]
        lengths = torch.tensor([each.end for _, each in single], device=self.device)
        rows = torch.tensor([start for start, _ in single], dtype=torch.long, device=self.device)
        return rows, torch.tensor(places, device=self.device), lengths

    @cached_property
    def _chunks(self) -> list[tuple[int, Piece, torch.Tensor]]:
        return [
            (start, each, torch.tensor(each.places, device=self.device))
            for start, each in zip(self._starts, self.pieces, strict=True)
            if each.count > 1
        ]

    def attend(self, layer: Layer, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attention of the new tokens to those of their own requests. All tensors are [1, heads, tokens, dimension].

        Returns [1, tokens, heads, dimension].
        """
        keys, values = self.cache.write(layer.number, self._new, key[0].transpose(0, 1), value[0].transpose(0, 1))
        found = query.new_empty(query.shape[2], query.shape[1], value.shape[3])
        rows, places, _ = self._steps
        if len(rows):
            found[rows] = self._one_token(query[0, :, rows], keys[places], values[places], layer)
        for start, each, at in self._chunks:
            found[start : start + each.count] = scaled_dot_product_attention(
                query[:, :, start : start + each.count],
                keys[at].transpose(0, 1)[None],
                values[at].transpose(0, 1)[None],
                attn_mask=self._causal(each, layer.window),
                scale=layer.scale,
                enable_gqa=True,
            )[0].transpose(0, 1)
        return found[None]

    def _one_token(self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, layer: Layer) -> torch.Tensor:
        """Attention of one token of each request. Query heads that share a key head take the place of tokens."""
        requests, groups = query.shape[1], keys.shape[2]
        grouped = query.transpose(0, 1).reshape(requests, groups, -1, query.shape[2])
        found = scaled_dot_product_attention(
            grouped,
            keys.transpose(1, 2),
            values.transpose(1, 2),
            attn_mask=self._visible(layer.window),
            scale=layer.scale,
        )
        return found.reshape(requests, -1, values.shape[3])

    def _visible(self, window: int | None) -> torch.Tensor | None:
        _, places, lengths = self._steps
        longest = places.shape[1]
        if len(lengths) == 1 and (window is None or window >= longest):
            return None
        if (mask := self._masks.get(("steps", window))) is None:
            at = torch.arange(longest, device=self.device)[None]
            mask = at < lengths[:, None]
            if window is not None:
                mask &= at >= lengths[:, None] - window
            mask = self._masks["steps", window] = mask[:, None, None]
        return mask

    def _causal(self, piece: Piece, window: int | None) -> torch.Tensor:
        if (mask := self._masks.get((piece.places, window))) is None:
            asking = torch.arange(piece.end - piece.count, piece.end, device=self.device)[:, None]
            at = torch.arange(piece.end, device=self.device)[None]
            mask = at <= asking
            if window is not None:
                mask &= at > asking - window
            self._masks[piece.places, window] = mask
        return mask


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    packed: Packed,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The attention of transformers' models, as their interface calls it."""
    scale = query.shape[3] ** -0.5 if scaling is None else scaling
    return packed.attend(Layer(int(module.layer_idx), scale, sliding_window), query, key, value), None
