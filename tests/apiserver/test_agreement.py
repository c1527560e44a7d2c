"""The models and the API server agree: for any manifest, both accept it or both reject it."""

from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from controlplane import Api, Refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilotfish.reconcile.kinds import parse_resource

SEEDS = list(yaml.safe_load_all(Path(__file__).with_name("seeds.yaml").read_text()))

Spot = tuple[Any, str | int]


def spots(value: Any) -> Iterator[Spot]:
    """Every place below `value` that holds something: its container, and its key there."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from spots(value[key])


def texts(seed: Any) -> Iterator[str]:
    return (holder[key] for holder, key in spots(seed) if isinstance(holder[key], str))


# every text and every field of the seeds may turn up anywhere, so that unions, enums and references get crossed
TEXTS = sorted({text for seed in SEEDS for text in texts(seed["spec"])})
FIELDS: dict[str, list[Any]] = {}
for _seed in SEEDS:
    for _holder, _key in spots(_seed["spec"]):
        if isinstance(_key, str):
            FIELDS.setdefault(_key, []).append(_holder[_key])

numbers = st.sampled_from([-1, 0, 1, 2, 3, 4, 32, 33, 1000, 1001, 3600, 3601, 86_401, 604_801, 16_777_217, 10**12])
strange = st.sampled_from(
    [
        "",
        " ",
        "a",
        "a" * 40,
        "a" * 64,
        "a" * 254,
        "A",
        "-a",
        "a.b",
        "a_b",
        "ä",
        "a\n",
        "01",
        "1.",
        "0.5",
        "http://x y",
        "a://",
    ]
)
scalars = st.one_of(numbers, st.sampled_from(TEXTS), strange, st.sampled_from([True, 1.5, [], {}]))


@st.composite
def mutants(draw: st.DrawFn) -> dict[str, Any]:
    """A seed after one to three changes."""
    manifest = deepcopy(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(list(spots({"spec": manifest["spec"]})) or [(manifest, "spec")]))
        if draw(st.booleans()) and isinstance(holder[key], dict):
            name = draw(st.sampled_from(sorted(FIELDS)))
            holder[key][name] = deepcopy(draw(st.sampled_from(FIELDS[name])))
        else:
            change(draw, manifest, holder, key)
    return manifest


def change(draw: st.DrawFn, manifest: dict[str, Any], holder: Any, key: str | int) -> None:
    match draw(st.sampled_from(["remove", "replace", "repeat"])):
        case "remove":
            del holder[key]
        case "repeat" if isinstance(holder, list):
            holder.append(deepcopy(holder[key]))
        case _:
            like = [st.sampled_from(FIELDS[key])] if key in FIELDS else []
            holder[key] = deepcopy(draw(st.one_of(numbers if isinstance(holder[key], int) else scalars, *like)))
    manifest.setdefault("spec", {})


def refusal(api: Api, manifest: dict[str, Any]) -> str | None:
    try:
        api.create(manifest, dry_run=True)
    except Refused as error:
        return error.message
    return None


def test_what_the_models_accept_the_api_server_accepts_and_nothing_else(api: Api) -> None:
    verdicts: Counter[bool] = Counter()

    @settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(mutants())
    def agree(manifest: dict[str, Any]) -> None:
        there = refusal(api, manifest)
        _, faults = parse_resource(manifest)
        verdicts[there is None] += 1
        assert bool(faults) == (there is not None), f"models: {faults or 'accept'}; API server: {there or 'accepts'}"

    agree()
    assert min(verdicts[True], verdicts[False]) > 20, f"the mutants are lopsided: {verdicts}"
