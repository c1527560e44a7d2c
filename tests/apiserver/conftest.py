"""One real API server for the whole run, with the CRDs in it."""

from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yaml
from controlplane import Api, ControlPlane, Refused, Unavailable, find_programs

CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A kube-apiserver with etcd that know the four kinds."""
    try:
        programs = find_programs()
    except Unavailable as error:
        pytest.skip(str(error))
    with ControlPlane(programs, tmp_path_factory.mktemp("controlplane")) as plane:
        with plane.api() as api:
            install_crds(api)
        yield plane


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane) -> Iterator[Api]:
    """A client that may do anything."""
    with control_plane.api() as client:
        yield client


@pytest.fixture
def namespace(api: Api) -> str:
    """A namespace for one test alone."""
    return api.namespace()


def install_crds(api: Api) -> None:
    """Apply crds/ and return when every kind is served."""
    for path in sorted(CRDS.glob("*.yaml")):
        crd = yaml.safe_load(path.read_text())
        api.apply(crd)
        api.wait(f"{crd['metadata']['name']} being served", lambda crd=crd: _is_served(api, crd))


def _is_served(api: Api, crd: dict[str, Any]) -> bool:
    spec = crd["spec"]
    try:
        api.request("GET", f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}")
    except Refused as error:
        if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.TOO_MANY_REQUESTS):
            raise
        return False
    return True
