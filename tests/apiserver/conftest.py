"""One real API server for the whole run, with the CRDs in it."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from controlplane import Api, ControlPlane, Unavailable, find_programs, install_crds, our_crds
from helm import Unavailable as NoHelm
from helm import find_helm
from operatorprocess import Account

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Build what has to be built before the first test's time runs; where it cannot be, the fixtures skip.

    Tests here get three minutes each, as the first one's include the start of the API server.
    """
    for item in items:
        if item.path.parent == HERE and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(180))
    needed = {name for item in items for name in getattr(item, "fixturenames", ())}
    if config.option.collectonly:
        return
    if "control_plane" in needed:
        with suppress(Unavailable):
            find_programs()
    if "helm_program" in needed:
        with suppress(NoHelm):
            find_helm()


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A kube-apiserver with etcd that know the four kinds."""
    try:
        programs = find_programs()
    except Unavailable as error:
        pytest.skip(str(error))
    with ControlPlane(programs, tmp_path_factory.mktemp("controlplane")) as plane:
        with plane.api() as api:
            install_crds(api, our_crds())
        yield plane


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane) -> Iterator[Api]:
    """A client that may do anything."""
    with control_plane.api() as client:
        yield client


@pytest.fixture(scope="module")
def account(api: Api) -> Account:
    """A service account with the operator's rights, and a namespace for its Lease."""
    return Account.make(api)


@pytest.fixture
def namespace(api: Api) -> str:
    """A namespace for one test alone."""
    return api.namespace()


@pytest.fixture(scope="session")
def helm_program() -> Path:
    """Helm, for tests that install or render the chart."""
    try:
        return find_helm()
    except NoHelm as error:
        pytest.skip(str(error))
