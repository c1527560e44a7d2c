"""What requests are steered to: the formulas of the papers, computed by a loop over single requests."""

import threading
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM

from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.logits import EngineProcess, SteeredRequest
from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.logits import LogitsContract
from pilotfish_proxy_tuning import ProxyTuning
from pilotfish_proxy_tuning.plugin import ROLES, Arguments, Combination, Config, Mixer
from pilotfish_proxy_tuning.steering import combine

PROMPTS = ([5, 6, 7], [11, 12, 13, 14, 15, 16], [90])


def engine(folders, *roles, **more):
    names = dict(zip(("expert", "anti-expert"), ("qwen", "other"), strict=True))
    return EngineProcess(
        device=torch.device("cpu"), dtype=torch.float32, max_model_length=64, max_requests=8, max_step_tokens=16,
        tokenizer=folders["llama"], models={role: folders[names[role]] for role in roles}, **more,
    )  # fmt: skip


def plugin(**config):
    return ProxyTuning.from_settings(Settings(config))


def steer(process, base, requests):
    """Greedy answers of six tokens, all requests in one batch as in an engine; requests end at different steps."""
    for step in range(6):
        alive = {row: request for row, request in enumerate(requests) if step < 6 - row}
        with torch.no_grad():
            logits = torch.stack([base(torch.tensor([[*r.prompt, *r.output]])).logits[0, -1] for r in requests])
        process.apply(logits=logits, requests=alive)
        for row, request in alive.items():
            request.output.append(int(logits[row].argmax()))
            if step == 5 - row:
                process.end(request=request)
    return [request.output for request in requests]


FORMULAS = {
    Combination.PROXY: lambda base, expert, anti, alpha: base + alpha * (expert - anti),
    Combination.PRODUCT: lambda base, expert, _, alpha: base.softmax(-1) * expert.softmax(-1) ** alpha,
    Combination.MIXTURE: lambda base, expert, _, w: (1 - w) * base.softmax(-1) + w * expert.softmax(-1),
    Combination.CONTRASTIVE: lambda base, _, anti, alpha: (1 + alpha) * base - alpha * anti,
}


@pytest.mark.parametrize("combination", Combination)
def test_greedy_tokens_equal_a_loop_over_single_requests(folders, combination):
    models = {name: AutoModelForCausalLM.from_pretrained(folders[name]).eval() for name in ("llama", "qwen", "other")}
    alphas = (0.0, 0.5, 1.0)
    process = plugin(combination=combination, plausibility=0).open(engine=engine(folders, *ROLES[combination]))
    requests = [SteeredRequest(Arguments(alpha=a), p, []) for a, p in zip(alphas, PROMPTS, strict=True)]
    found = steer(process, models["llama"], requests)
    plain = steer(process, models["llama"], [SteeredRequest(Arguments(alpha=0), p, []) for p in PROMPTS])
    for answer, alpha, prompt in zip(found, alphas, PROMPTS, strict=True):
        tokens = list(prompt)
        with torch.no_grad():
            for _ in answer:
                own = (models[name](torch.tensor([tokens])).logits[0, -1] for name in ("llama", "qwen", "other"))
                tokens.append(int(FORMULAS[combination](*own, alpha).argmax()))
        assert answer == tokens[len(prompt) :], (combination, alpha)
    assert found[0] == plain[0]
    assert found[1:] != plain[1:]


def test_every_process_of_an_engine_writes_equal_values_and_loads_a_part_of_the_models(folders):
    """Two processes of tensor parallelism, here threads whose broadcast waits for both."""
    meeting, sent, found = threading.Barrier(2), {}, {}

    def process(rank):
        def broadcast(tensor, source):
            if rank == source:
                sent["tensor"] = tensor
            meeting.wait(60)
            received = sent["tensor"].clone()
            meeting.wait(60)
            return received

        made = plugin().open(engine=engine(folders, "expert", "anti-expert", rank=rank, ranks=2, broadcast=broadcast))
        logits = torch.ones(3, 97)
        requests = {row: SteeredRequest(Arguments(), prompt, []) for row, prompt in enumerate(PROMPTS)}
        made.apply(logits=logits, requests=requests)
        found[rank] = (list(made._experts), logits)

    threads = [threading.Thread(target=process, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [roles for roles, _ in (found[0], found[1])] == [["anti-expert"], ["expert"]]
    assert torch.equal(found[0][1], found[1][1])
    alone = torch.ones(3, 97)
    requests = {row: SteeredRequest(Arguments(), prompt, []) for row, prompt in enumerate(PROMPTS)}
    plugin().open(engine=engine(folders, "expert", "anti-expert")).apply(logits=alone, requests=requests)
    assert torch.equal(found[0][1], alone)


@pytest.mark.parametrize("combination", Combination)
def test_what_the_output_format_forbids_stays_forbidden(combination):
    base = torch.zeros(1, 6)
    base[0, 2] = -torch.inf
    scores = {"expert": torch.tensor([[0.0, 0, 90, 0, 1]]), "anti-expert": torch.zeros(1, 5)}
    alpha, plausibility = torch.ones(1, 1), torch.zeros(1, 1)
    found = combine(Config(combination=combination), base, scores, alpha, plausibility)
    assert torch.isneginf(found[0, [2, 5]]).all(), "forbidden, and behind the smallest vocabulary"
    assert torch.isfinite(found[0, [0, 1, 3]]).all() or combination is Combination.MIXTURE
    assert not found.isnan().any()


def test_only_plausible_tokens_can_be_sampled():
    base = torch.tensor([[0.0, -1.0, -2.0, -3.0]])
    anti = torch.tensor([[0.0, 0.0, 0.0, -50.0]])
    config = Config(combination=Combination.CONTRASTIVE)
    found = combine(config, base, {"anti-expert": anti}, torch.ones(1, 1), torch.tensor([[0.2]]))
    assert torch.isneginf(found[0]).tolist() == [False, False, True, True]


def test_the_mixer_trusts_the_expert_where_it_is_sure():
    base = torch.tensor([[3.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    expert = torch.tensor([[0.0, 0.0, 0.1], [0.0, 0.0, 9.0]])
    mixer = Mixer(bias=4, expert_entropy=-20)
    config = Config(combination=Combination.MIXTURE, mixer=mixer)
    found = combine(config, base, {"expert": expert}, torch.full((2, 1), 0.5), torch.zeros(2, 1))
    torch.testing.assert_close(found.exp().sum(dim=1), torch.ones(2))
    assert found.argmax(dim=1).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"combination": "Sum"}, "config.combination"),
        ({"alpha": -1}, "config.alpha"),
        ({"combination": "Mixture", "alpha": 2}, "config.alpha"),
        ({"mixer": {"bias": 1}}, "config.mixer"),
    ],
)
def test_a_wrong_config_names_its_field(config, field):
    with pytest.raises(ConfigError) as caught:
        plugin(**config)
    assert caught.value.field == field


@pytest.mark.parametrize("arguments", [{"alpha": "much"}, {"alpha": 9}, {"alpa": 1}, {"plausibility": float("nan")}])
def test_a_wrong_parameter_of_a_request_is_named(arguments):
    with pytest.raises(ConfigError) as caught:
        ProxyTuning.request_values(arguments=arguments)
    assert caught.value.field in arguments


def test_a_cache_smaller_than_the_longest_request_is_refused(folders):
    with pytest.raises(ConfigError, match="less than the maximum model length, 64"):
        plugin(combination="Product", cacheTokens=32).open(engine=engine(folders, "expert"))


def test_the_roles_follow_the_combination():
    assert [role.name for role in plugin().roles] == ["expert", "anti-expert"]
    assert [role.name for role in plugin(combination="Contrastive").roles] == ["anti-expert"]


class TestContract(LogitsContract):
    plugin = ProxyTuning
    vocabulary = 97
    arguments = {"alpha": 0.5}

    @pytest.fixture(autouse=True)
    def models(self, folders):
        self.folders = folders

    def engine(self):
        return engine(self.folders, "expert", "anti-expert")


def test_a_smaller_vocabulary_of_the_expert_is_no_fault(folders):
    narrow = replace(engine(folders, "expert"), models={"expert": folders["narrow"]})
    logits = torch.zeros(1, 97)
    plugin(combination="Product").open(engine=narrow).apply(
        logits=logits, requests={0: SteeredRequest(Arguments(), [1, 2], [])}
    )
    assert torch.isneginf(logits[0, 80:]).all()
    assert torch.isfinite(logits[0, :80]).all()
