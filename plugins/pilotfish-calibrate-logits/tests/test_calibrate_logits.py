"""A distortion of known size is learned from a log, and undone in the engine's rows that it belongs to."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.logits import EngineProcess, SteeredRequest
from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.logits import LogitsContract
from pilotfish_calibrate_logits import CalibrateLogits
from pilotfish_calibrate_logits.fitting import fit, main, read
from pilotfish_calibrate_logits.plugin import Arguments

LABELS = ("no", "perhaps", "yes")
BIAS = np.array([0.8, -0.2, -0.6])
TEMPERATURE = 2.0


def log(count=4000, seed=0):
    """Decisions by softmax(l / T + b), recorded with the log-probabilities l."""
    generator = np.random.default_rng(seed)
    scores = generator.normal(0, 4, (count, 3))
    logprobs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    right = (logprobs / TEMPERATURE + BIAS + generator.gumbel(size=(count, 3))).argmax(axis=1)
    return [
        json.dumps({"label": LABELS[label], "logprobs": dict(zip(LABELS, row.tolist(), strict=True))})
        for label, row in zip(right, logprobs, strict=True)
    ]


def test_the_distortion_is_found():
    decisions = read(log())
    found = fit(decisions)
    assert found.temperature == pytest.approx(TEMPERATURE, rel=0.1)
    assert found.bias == pytest.approx(BIAS, abs=0.15)
    nearby = fit(decisions.rows(np.arange(0, 4000, 100)))
    assert found.log_loss(decisions) < nearby.log_loss(decisions)


def test_labels_that_can_be_told_apart_do_not_send_the_parameters_to_infinity():
    lines = [json.dumps({"label": label, "logprobs": {label: -0.1, other: -3.0}}) for label, other in
             [("a", "b"), ("b", "a")] * 30]  # fmt: skip
    found = fit(read(lines))
    assert 0.05 <= found.temperature < 1
    assert found.bias == pytest.approx([0, 0], abs=1e-3)


def test_the_command_prints_a_config_that_the_plugin_takes(tmp_path, capsys):
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(log(400)))
    assert main([str(path)]) == 0
    printed = capsys.readouterr()
    config = CalibrateLogits.from_settings(Settings(json.loads(printed.out))).config
    assert set(config.bias) == set(LABELS)
    assert "held-out half of 400 lines: log-loss" in printed.err


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (['{"label": "a"}'], "line 1: needs `label` and `logprobs`"),
        (["", '{"label": "a", "logprobs": {"a": NaN}}'], "line 2: `label` must be a string"),
        (log(3), "has 3 lines"),
        (['{"label": "a", "logprobs": {"a": -1}}'] * 50, "1 labels"),
    ],
)
def test_a_log_that_cannot_be_learned_from_is_refused(lines, words):
    with pytest.raises(ConfigError, match=words):
        read(lines)


@pytest.fixture
def engine(tmp_path):
    words = ["pad", "unknown", *LABELS, "other"]
    made = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="unknown"))
    made.pre_tokenizer = WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=made, unk_token="unknown").save_pretrained(tmp_path)
    return EngineProcess(
        device=torch.device("cpu"), dtype=torch.float32, max_model_length=8, max_requests=4, max_step_tokens=8,
        tokenizer=tmp_path, models={},
    )  # fmt: skip


def test_rows_of_enabled_requests_change_and_biases_end_with_the_first_tokens(engine):
    config = {"temperature": 2, "bias": {"yes": -1.5}, "biasTokens": 1}
    process = CalibrateLogits.from_settings(Settings(config)).open(engine=engine)
    requests = {
        0: SteeredRequest(Arguments(), [1], []),
        1: SteeredRequest(Arguments(enabled=False), [1], []),
        3: SteeredRequest(Arguments(), [1], [2]),
    }
    logits = torch.full((4, 6), 3.0)
    process.apply(logits=logits, requests=requests)
    assert logits[:, 0].tolist() == [1.5, 3, 3, 1.5]
    assert logits[:, 4].tolist() == [0, 3, 3, 1.5]


class TestContract(LogitsContract):
    plugin = CalibrateLogits
    settings = Settings({"temperature": 2, "bias": {"yes": -1.5}, "biasTokens": 2})

    @pytest.fixture(autouse=True)
    def made(self, engine):
        self.made_engine = engine

    def engine(self):
        return self.made_engine


@pytest.mark.parametrize("text", ["yes no", "certainly"])
def test_a_bias_that_is_not_one_token_is_refused_by_name(engine, text):
    plugin = CalibrateLogits.from_settings(Settings({"bias": {"yes": 1, text: 1}}))
    with pytest.raises(ConfigError) as caught:
        plugin.open(engine=engine)
    assert caught.value.field == f"config.bias.{text}"


@pytest.mark.parametrize(
    ("config", "field"), [({"temperature": 0}, "config.temperature"), ({"bias": {"a": 1e9}}, "config.bias.a")]
)
def test_a_wrong_config_names_its_field(config, field):
    with pytest.raises(ConfigError) as caught:
        CalibrateLogits.from_settings(Settings(config))
    assert caught.value.field == field


def test_a_wrong_parameter_is_named():
    with pytest.raises(ConfigError) as caught:
        CalibrateLogits.request_values(arguments={"enabled": "sometimes"})
    assert caught.value.field == "enabled"
