"""Requests that are computed together have the logits that each has alone, after every history of the cache."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, GPTJConfig, GPTJForCausalLM

from pilotfish.base.errors import ConfigError
from pilotfish_proxy_tuning.experts import Expert, Limits

CPU = torch.device("cpu")
TOKENS = st.lists(st.integers(0, 96), min_size=1, max_size=40)


def expert(folder, cache_tokens=128, step_tokens=24):
    return Expert(folder, CPU, torch.float32, Limits(cache_tokens, step_tokens))


@pytest.fixture(scope="session")
def alone(folders):
    """Logits of the token after a sequence, computed by transformers, by model."""
    models = {name: AutoModelForCausalLM.from_pretrained(folder).eval() for name, folder in folders.items()}

    @torch.no_grad()
    def compute(name, tokens):
        return models[name](torch.tensor([tokens])).logits[0, -1]

    return compute


@pytest.mark.parametrize("name", ["llama", "windowed", "qwen"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_order_of_prompts_steps_and_ends_gives_the_logits_of_a_request_alone(folders, alone, name, data):
    """Requests begin, grow by a token, shrink, stay, are left out of a step, end, and outgrow the cache."""
    made = expert(folders[name])
    running: dict[int, list[int]] = {}
    for step in range(data.draw(st.integers(1, 6))):
        running[step] = data.draw(TOKENS)
        for request, tokens in list(running.items()):
            match data.draw(st.sampled_from(["grow", "grow", "keep", "cut", "end"])):
                case "grow":
                    tokens.append(data.draw(st.integers(0, 96)))
                case "cut":
                    del tokens[max(1, len(tokens) - 3) :]
                case "end":
                    del running[request]
                    made.release(request)
        asked = [(request, list(tokens)) for request, tokens in running.items() if data.draw(st.booleans())]
        if asked:
            found = made.next_logits(asked)
            for row, (_, tokens) in enumerate(asked):
                torch.testing.assert_close(found[row], alone(name, tokens), atol=2e-4, rtol=1e-3)
    for request in running:
        made.release(request)
    assert made.blocks.used == 0


def test_a_step_of_more_requests_than_fit_is_computed_in_parts(folders, alone):
    made = expert(folders["qwen"], cache_tokens=48)
    asked = [(number, [number, *range(20)]) for number in range(5)]
    for _ in range(2):
        found = made.next_logits(asked)
        for row, (_, tokens) in enumerate(asked):
            torch.testing.assert_close(found[row], alone("qwen", tokens), atol=2e-4, rtol=1e-3)
    assert made.blocks.evicted > 0


def test_a_token_of_each_request_is_one_forward_pass(folders):
    made = expert(folders["qwen"])
    asked = [(number, [number, 7, 8]) for number in range(4)]
    made.next_logits(asked)
    passes = []
    made._model.register_forward_pre_hook(
        lambda _, args, kwargs: passes.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    made.next_logits([(request, [*tokens, 9]) for request, tokens in asked])
    assert passes == [4]


def test_a_model_whose_attention_cannot_be_replaced_is_refused(tmp_path):
    config = GPTJConfig(vocab_size=20, n_positions=16, n_embd=8, n_layer=1, n_head=1, rotary_dim=4)
    GPTJForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="GPTJForCausalLM cannot be steered with"):
        expert(tmp_path)
