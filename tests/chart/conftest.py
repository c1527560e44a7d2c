"""Tests of the chart need Helm."""

import pytest
from helm import Unavailable, find_helm


@pytest.fixture(scope="session", autouse=True)
def helm() -> None:
    """Helm is there, or the tests are skipped with a line that says how to get it."""
    try:
        find_helm()
    except Unavailable as error:
        pytest.skip(str(error))
