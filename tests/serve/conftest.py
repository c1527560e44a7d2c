"""Real engines: what they need of the machine, and time enough for two cores."""

import importlib.util

import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.timeout(1500))


@pytest.fixture(scope="session", autouse=True)
def engines():
    """Skip where no engine is installed."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("no engine is installed: make env", allow_module_level=True)
