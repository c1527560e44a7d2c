"""Tiny models of two families, made at random: what they say means nothing, but every token depends on all before."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM

SHAPE = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.5,
}  # fmt: skip


def make(kind: str, seed: int, **changes):
    torch.manual_seed(seed)
    if kind == "llama":
        return LlamaForCausalLM(LlamaConfig(**SHAPE | changes))
    if kind == "windowed":
        return MistralForCausalLM(MistralConfig(**SHAPE | {"sliding_window": 5} | changes))
    return Qwen2ForCausalLM(Qwen2Config(**SHAPE | changes))


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """A folder of each tiny model, by name."""
    made = {
        "llama": make("llama", 0), "windowed": make("windowed", 1), "qwen": make("qwen", 2), "other": make("qwen", 3),
        "narrow": make("qwen", 4, vocab_size=80),
    }  # fmt: skip
    root = tmp_path_factory.mktemp("models")
    for name, model in made.items():
        model.save_pretrained(root / name)
    return {name: root / name for name in made}
