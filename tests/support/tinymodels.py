"""Tiny models and a tokenizer of whole words, made at random."""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = 128


def save_tokenizer(folder: Path, prefix: str = "w") -> None:
    vocabulary = {f"{prefix}{number}": number for number in range(WORDS)}
    model = Tokenizer(WordLevel(vocabulary, unk_token=f"{prefix}0"))
    model.pre_tokenizer = WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=model, unk_token=f"{prefix}0", eos_token=f"{prefix}1", pad_token=f"{prefix}1"
    )
    fast.chat_template = "w2 {% for message in messages %}{{ message.content }}{% endfor %}"
    fast.save_pretrained(folder)


def save_model(folder: Path, seed: int, layers: int = 2) -> None:
    """A model whose tokens depend on all before them, with weights from `seed`, in float32."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=64, intermediate_size=96, num_hidden_layers=layers, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=512, initializer_range=0.3, eos_token_id=1, bos_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    save_tokenizer(folder)
