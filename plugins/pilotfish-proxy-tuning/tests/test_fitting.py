"""The mixer finds where the expert knows better, and its config is one that the plugin takes."""

import json

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.settings import Settings
from pilotfish_proxy_tuning import ProxyTuning
from pilotfish_proxy_tuning.fitting import TokenStatistics, fit, main


def tokens(count=3000, seed=0):
    """Where its entropy is low, the expert gives tokens 0.9 and the base 0.1; elsewhere the other way round."""
    sure = np.random.default_rng(seed).random(count) < 0.5
    likely, unlikely = np.log(0.9), np.log(0.1)
    return TokenStatistics(
        base=np.where(sure, unlikely, likely),
        expert=np.where(sure, likely, unlikely),
        base_entropy=np.full(count, 2.0),
        expert_entropy=np.where(sure, 0.2, 3.0),
    )


def test_the_expert_is_trusted_where_its_entropy_is_low():
    learned, held_out = fit(tokens()), tokens(seed=1)
    assert learned[2] < 0
    assert held_out.likelihood(learned) > held_out.likelihood(np.zeros(3)) + 0.3


def test_a_model_that_is_better_everywhere_gets_nearly_all_weight():
    found = tokens()
    best = np.maximum(found.base, found.expert)
    ahead = TokenStatistics(best - 2, best, found.base_entropy, found.expert_entropy)
    assert ahead.likelihood(fit(ahead)) > ahead.expert.mean() - 0.05


def test_too_few_tokens_are_refused():
    with pytest.raises(ConfigError, match="have 50 tokens: at least 200"):
        fit(tokens(50))


def test_the_command_prints_a_config_that_the_plugin_takes(folders, tmp_path, capsys):
    made = Tokenizer(WordLevel({f"w{number}": number for number in range(97)}, unk_token="w0"))
    made.pre_tokenizer = WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=made, unk_token="w0").save_pretrained(folders["llama"])
    lines = [{"text": " ".join(f"w{(start * step) % 97}" for step in range(1, 40))} for start in range(1, 9)]
    (tmp_path / "documents.jsonl").write_text("\n".join(map(json.dumps, lines)))
    options = ["--base", str(folders["llama"]), "--expert", str(folders["qwen"])]
    assert main([str(tmp_path / "documents.jsonl"), *options]) == 0
    printed = capsys.readouterr()
    plugin = ProxyTuning.from_settings(Settings(json.loads(printed.out)))
    assert [role.name for role in plugin.roles] == ["expert"]
    assert "held-out tokens" in printed.err
    (tmp_path / "documents.jsonl").write_text('{"words": 1}')
    assert main([str(tmp_path / "documents.jsonl"), *options]) == 1
    assert "line 1: must be an object with `text`" in capsys.readouterr().err
