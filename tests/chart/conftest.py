"""Tests of the chart need Helm."""

from contextlib import suppress

import pytest
from helm import Unavailable, find_helm


def pytest_collection_modifyitems(config: pytest.Config) -> None:
    """Build Helm, where it has to be built, before the first test's time runs."""
    if not config.option.collectonly:
        with suppress(Unavailable):
            find_helm()


@pytest.fixture(scope="session", autouse=True)
def helm() -> None:
    """Helm is there, or the tests are skipped with a line that says how to get it."""
    try:
        find_helm()
    except Unavailable as error:
        pytest.skip(str(error))
