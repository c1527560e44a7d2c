"""Secrets and volumes from manifests and from the command line."""

import pytest

from pilotfish.api.common import SecretKeyRef
from pilotfish.base.errors import ConfigError
from pilotfish.base.keys import Key
from pilotfish.local.secrets import Secrets, parse_volumes
from pilotfish.manifests import KeyedData

REF = SecretKeyRef(name="hub", key="token")
HUB = Key("Secret", "default", "hub")
MANIFESTS = {HUB: KeyedData(HUB, {"token": b"from-manifest\n"})}


def test_a_file_wins_over_a_manifest(tmp_path):
    file = tmp_path / "token"
    file.write_text("from-file\n")
    assert Secrets.gather(MANIFESTS).get("default", REF, "f") == "from-manifest"
    assert Secrets.gather(MANIFESTS, [f"hub/token={file}"]).get("default", REF, "f") == "from-file"


def test_a_secret_is_in_no_repr():
    assert "from-manifest" not in repr(Secrets.gather(MANIFESTS))


@pytest.mark.parametrize("given", ["hub=x", "hub/token", "/token=x", "hub/token=/nowhere/at/all"])
def test_what_cannot_be_read_is_told(given):
    with pytest.raises(ConfigError, match="--secret"):
        Secrets.gather({}, [given])


def test_a_missing_secret_names_the_field_and_the_way_to_give_it():
    with pytest.raises(ConfigError, match=r"spec\.model\.credentialsSecretRef.*--secret hub/token=FILE"):
        Secrets().get("default", REF, "spec.model.credentialsSecretRef")


def test_volumes(tmp_path):
    assert parse_volumes([f"weights={tmp_path}"]) == {"weights": tmp_path.resolve()}
    with pytest.raises(ConfigError, match="--volume"):
        parse_volumes([f"weights={tmp_path}/nothing"])
