"""What the engine of a pool with logits plugins gets on this machine."""

import pytest
from resource_builders import a_plugin, a_pool

from pilotfish.base.errors import ConfigError
from pilotfish.local.fetching import Fetcher


@pytest.fixture
def fetcher(tmp_path):
    """With a model in each of the folders `own`, `expert` and `anti`, which are used where they are."""
    for name in ("own", "expert", "anti"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "model.safetensors").write_bytes(b"")
    plugins = [
        a_plugin("style", type="proxy-tuning", config={"alpha": 0.5}),
        a_plugin("labels", type="calibrate-logits"),
        a_plugin("pages", type="retrieval"),
    ]
    return Fetcher(tmp_path / "cache", lambda _: None, plugins=lambda: {each.key: each for each in plugins})


def steered(tmp_path, *logits):
    return a_pool(model={"uri": f"file://{tmp_path}/own"}, logits=list(logits))


def use(tmp_path, name, **models):
    listed = [{"role": role, "model": {"uri": f"file://{tmp_path}/{folder}"}} for role, folder in models.items()]
    return {"pluginRef": {"name": name}, "models": listed}


async def test_the_engine_gets_the_plugins_with_the_folders_of_their_models(fetcher, tmp_path):
    style = use(tmp_path, "style", **{"expert": "expert", "anti-expert": "anti"})
    context = await fetcher.prepare(steered(tmp_path, style, use(tmp_path, "labels")), None)
    first, second = context.logits
    assert (first.type, dict(first.config)) == ("proxy-tuning", {"alpha": 0.5})
    assert first.models == {"expert": str(tmp_path / "expert"), "anti-expert": str(tmp_path / "anti")}
    assert (second.type, second.models) == ("calibrate-logits", {})


@pytest.mark.parametrize(
    ("name", "models", "words"),
    [
        ("nobody", {}, r"spec.logits\[0\].pluginRef.name: there is no AdaptationPlugin 'nobody'"),
        ("pages", {}, r"spec.logits\[0\].pluginRef.name: 'pages' has type 'retrieval', which works in the gateway"),
        ("style", {"expert": "expert"}, r"spec.logits\[0\].models: .*anti-expert"),
    ],
)
async def test_a_plugin_that_cannot_work_is_an_error_before_anything_is_fetched(fetcher, tmp_path, name, models, words):
    with pytest.raises(ConfigError, match=words):
        await fetcher.prepare(steered(tmp_path, use(tmp_path, name, **models)), None)
