"""A pool whose engine is steered by small models: its greedy tokens are those of a loop over single requests."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tinymodels
import torch
import yaml
from transformers import AutoModelForCausalLM

from pilotfish.engine.vocabularies import check_vocabularies
from tests.serve.up import Up, call

API = {"apiVersion": "pilotfish.dev/v1alpha1"}
ANSWER = 24
ALPHAS = (0.0, 0.5, 1.0, 1.0, 2.0)
PROMPTS = ([3, 4, 5] * 7, list(range(7, 27)), list(range(20, 90)), [50] * 25, [9] * 30)
"""One of them is longer than a step of the engine, so that it is computed in parts."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("base", "expert", "anti-expert")):
        tinymodels.save_model(root / name, seed, layers=3 if name == "base" else 2)
    return {path.name: path for path in root.iterdir()}


@pytest.fixture(scope="module")
def steered(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory):
    """The URL of a gateway in front of the pool `steered`."""
    beside = [{"role": role, "model": {"uri": f"file://{models[role]}"}} for role in ("expert", "anti-expert")]
    # too few blocks for the answers of three requests, so that some are preempted and come back
    args = {"dtype": "float32", "max_num_seqs": 4, "max_num_batched_tokens": 32, "num_gpu_blocks_override": 6}
    pool = {
        "tier": "Small",
        "model": {"uri": f"file://{models['base']}"},
        "engine": {"maxModelLength": 128, "args": {**args, "block_size": 32, "enable_prefix_caching": False}},
        "replicas": 1,
        "logits": [{"pluginRef": {"name": "house-style"}, "models": beside}],
    }
    plugin = {"type": "proxy-tuning", "config": {"cacheTokens": 256}}
    manifests = [
        {**API, "kind": "ModelPool", "metadata": {"name": "steered"}, "spec": pool},
        {**API, "kind": "AdaptationPlugin", "metadata": {"name": "house-style"}, "spec": plugin},
    ]
    folder = tmp_path_factory.mktemp("manifests")
    (folder / "pool.yaml").write_text(yaml.safe_dump_all(manifests))
    up = Up(folder)
    try:
        up.wait_for("steered: ready")
        yield up.url
    finally:
        up.end()


def complete(url: str, prompt: list[int], **xargs) -> tuple[int, dict]:
    body = {"model": "steered", "prompt": prompt, "max_tokens": ANSWER, "temperature": 0}
    status, _, answer = call(
        f"{url}/v1/completions", {**body, "ignore_eos": True, "return_token_ids": True, "vllm_xargs": xargs}
    )
    return status, answer


def test_answers_of_requests_at_once_are_those_of_a_loop(steered: str, models: dict[str, Path]) -> None:
    with ThreadPoolExecutor(len(PROMPTS)) as pool:
        asked = [
            pool.submit(complete, steered, prompt, **{"proxy-tuning.alpha": alpha})
            for prompt, alpha in zip(PROMPTS, ALPHAS, strict=True)
        ]
        answers = [each.result() for each in asked]
    base, expert, anti = (
        AutoModelForCausalLM.from_pretrained(models[name]).eval() for name in ("base", "expert", "anti-expert")
    )
    for prompt, alpha, (status, answer) in zip(PROMPTS, ALPHAS, answers, strict=True):
        assert status == 200, answer
        said = list(prompt)
        with torch.inference_mode():
            for _ in range(ANSWER):
                own, plus, minus = (model(torch.tensor([said])).logits[0, -1] for model in (base, expert, anti))
                said.append(int((own + alpha * (plus - minus)).argmax()))
        assert answer["choices"][0]["token_ids"] == said[len(prompt) :], alpha


def test_a_wrong_parameter_is_refused_by_its_name(steered: str) -> None:
    status, answer = complete(steered, [3], **{"proxy-tuning.alpha": "much"})
    assert status == 400
    assert "proxy-tuning.alpha: must be a number" in answer["error"]["message"]
    status, answer = complete(steered, [3], **{"proxy-tuning.alpa": 1})
    assert status == 400
    assert "proxy-tuning.alpa: unknown field" in answer["error"]["message"]


def test_another_vocabulary_is_refused_before_the_engine_starts(models: dict[str, Path], tmp_path: Path) -> None:
    tinymodels.save_tokenizer(tmp_path, prefix="x")

    def config(expert: Path) -> dict:
        settings = {"proxy-tuning": {"config": {}, "models": {"expert": str(expert)}}}
        return {
            "engine_kwargs": {"additional_config": {"pilotfish_logits": settings}},
            "model_loading_config": {"model_source": str(models["base"])},
        }

    check_vocabularies(config(models["expert"]))
    with pytest.raises(ValueError, match="role expert of plugin type proxy-tuning has another vocabulary"):
        check_vocabularies(config(tmp_path))
