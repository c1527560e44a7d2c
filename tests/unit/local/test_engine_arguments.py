"""Names of engine arguments against the vLLM that is installed."""

import importlib.util

import pytest

from pilotfish.api import ModelPool
from pilotfish.base.errors import ConfigError
from pilotfish.local.engine_arguments import check
from pilotfish.render.serve_application import EngineContext, engine_arguments

pytestmark = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="no engine is installed: make env")


def test_all_that_is_rendered_is_known():
    spec = {
        "tier": "Small",
        "task": "Generate",
        "model": {"uri": "file:///m"},
        "engine": {"maxModelLength": 1, "speculative": {"type": "NGram", "tokens": 1}},
        "replicas": 1,
    }
    pool = ModelPool.model_validate(
        {"apiVersion": "pilotfish.dev/v1alpha1", "kind": "ModelPool", "metadata": {"name": "a"}, "spec": spec}
    )
    context = EngineContext(weights="/m", adapters={"x": "/x"}, traces_endpoint="http://127.0.0.1:1/v1/traces")
    check([*engine_arguments(pool, context), "runner"])


def test_an_unknown_one_is_told_with_its_field_and_the_nearest_known():
    with pytest.raises(ConfigError, match=r"spec\.engine\.args\.max_num_seq: .*did you mean max_num_seqs\?"):
        check(["max_num_seq"])
