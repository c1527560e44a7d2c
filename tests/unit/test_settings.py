"""Settings from the environment."""

import pytest

from pilotfish.base.errors import MachineError
from pilotfish.settings import OperatorSettings

NEEDED = {"PILOTFISH_NAMESPACE": "pilotfish-system", "PILOTFISH_POOL_IMAGE": "pool:1"}


def accelerators(text):
    return OperatorSettings.from_environment(NEEDED | {"PILOTFISH_ACCELERATORS": text}).accelerators


def test_accelerators_are_labels_of_nodes_by_type():
    assert accelerators('{"nvidia-l4": {"gpu": "L4"}}') == {"nvidia-l4": {"gpu": "L4"}}
    assert accelerators("") == accelerators("{}") == {}


@pytest.mark.parametrize("text", ["{", "[]", '{"nvidia-l4": "L4"}', '{"nvidia-l4": {"gpus": 4}}'])
def test_accelerators_that_cannot_be_read_are_a_fault_of_their_variable(text):
    with pytest.raises(MachineError, match="PILOTFISH_ACCELERATORS must be JSON"):
        accelerators(text)
