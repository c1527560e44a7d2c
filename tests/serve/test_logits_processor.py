"""What a plugin sees of vLLM's batch, without an engine: rows that move, requests that end, unknown tokens."""

from operator import attrgetter
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("vllm")

from vllm import SamplingParams
from vllm.exceptions import VLLMValidationError
from vllm.v1.sample.logits_processor import BatchUpdate, MoveDirectionality

from pilotfish.base.errors import ConfigError
from pilotfish.engine import logits
from pilotfish.plugin_api.logits import EngineProcess, SteeredRequest


class Marks:
    """Adds the request's mark to the logits of its row."""

    roles = ()

    def __init__(self):
        self.ended = []

    @classmethod
    def from_settings(cls, settings):
        return cls()

    @classmethod
    def request_values(cls, *, arguments):
        if arguments.keys() - {"mark"}:
            raise ConfigError("mark", "is the only parameter")
        return arguments.get("mark", 0)

    def open(self, *, engine: EngineProcess):
        return self

    def apply(self, *, logits, requests):
        for row, request in requests.items():
            logits[row] += request.values

    def end(self, *, request: SteeredRequest):
        self.ended.append(request.values)


@pytest.fixture
def processor(monkeypatch):
    kind = type("Processor", (logits.PluginProcessor,), {"kind": "marks", "plugin": Marks})
    monkeypatch.setattr(logits, "get_tp_group", lambda: SimpleNamespace(rank_in_group=0, world_size=1))
    config = SimpleNamespace(
        additional_config={"pilotfish_logits": {"marks": {"config": {}, "models": {}}}},
        model_config=SimpleNamespace(dtype=torch.float32, max_model_len=64, tokenizer="/model"),
        scheduler_config=SimpleNamespace(max_num_seqs=8, max_num_batched_tokens=64),
    )
    return kind(config, torch.device("cpu"), is_pin_memory=False)


def params(mark):
    return SamplingParams(extra_args={"marks.mark": mark, "another.parameter": "kept"})


def update(added=(), removed=(), moved=()):
    return BatchUpdate(batch_size=8, removed=list(removed), added=list(added), moved=list(moved))


def rows(processor, count=4):
    return processor.apply(torch.zeros(count, 3))[:, 0].tolist()


def test_requests_keep_their_values_wherever_vllm_moves_them(processor):
    outputs = [[] for _ in range(4)]
    processor.update_state(update([(row, params(row + 1), [1], outputs[row]) for row in range(4)]))
    assert rows(processor) == [1, 2, 3, 4]
    processor.update_state(update(moved=[(0, 3, MoveDirectionality.SWAP)]))
    assert rows(processor) == [4, 2, 3, 1]
    processor.update_state(update(removed=[1], moved=[(3, 1, MoveDirectionality.UNIDIRECTIONAL)]))
    assert rows(processor) == [4, 1, 3, 0]
    processor.update_state(update([(0, params(9), [1], [])]))
    assert rows(processor) == [9, 1, 3, 0]
    assert processor._process.ended == [2, 4]


def test_a_row_whose_last_token_is_not_known_is_left_until_it_is(processor):
    output = [5, -1]
    processor.update_state(update([(0, params(1), [1], output), (1, params(2), [1], [])]))
    assert rows(processor, 2) == [0, 2]
    output[-1] = 6
    processor.update_state(None)
    assert rows(processor, 2) == [1, 2]


def test_a_wrong_parameter_is_named_as_the_client_wrote_it(processor):
    with pytest.raises(VLLMValidationError, match=r"marks.mark: is the only parameter") as caught:
        processor.validate_params(SamplingParams(extra_args={"marks.other": 1}))
    assert caught.value.parameter == "vllm_xargs.marks.mark"
    processor.validate_params(SamplingParams(extra_args={"other.thing": 1}))


def test_a_plugin_that_is_not_installed_says_so():
    with pytest.raises(AttributeError, match="no logits plugin 'nothing' is installed where the engine runs"):
        attrgetter("nothing")(logits)
