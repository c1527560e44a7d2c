"""The image of operator and gateway has the packages of requirements/core.txt: the command starts with these alone."""

import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]

_START = """
import sys
from importlib.machinery import PathFinder

absent = frozenset(sys.stdin.read().split())

class Present(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Present
from pilotfish.cli.main import application
application()(["--help"])
"""


def test_the_command_starts_with_the_core_lock_alone() -> None:
    lock = (ROOT / "requirements" / "core.txt").read_text()
    locked = {normal(name) for name in re.findall(r"^([A-Za-z0-9_.-]+)==", lock, re.MULTILINE)} | {"pilotfish"}
    absent = {
        module
        for module, distributions in packages_distributions().items()
        if not {normal(name) for name in distributions} & locked and not module.startswith("_")
    }
    assert "torch" in absent
    done = subprocess.run(
        [sys.executable, "-c", _START], input=" ".join(absent), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
