"""The chart's init container installs the wheels of a volume offline, and only those with the listed hashes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helm import Unavailable, find_helm, pick, render

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
LISTING = re.compile(r"^\$ (for wheel in .*)$", re.MULTILINE)
"""The documented command that writes the file of requirements."""
VOLUME = {"plugins": {"extra": {"volume": {"configMap": {"name": "plugins"}}}}}


@pytest.fixture(scope="module")
def command() -> list[str]:
    """What the init container runs."""
    try:
        find_helm()
    except Unavailable as error:
        pytest.skip(str(error))
    pod = pick(render(values=VOLUME), "Deployment", "pilotfish-gateway")["spec"]["template"]["spec"]
    return [*pod["initContainers"][0]["command"], *pod["initContainers"][0]["args"]]


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A volume with a wheel that is installed nowhere else."""
    run("-m", "pilotfish", "plugins", "new", "extra-plugin", "--into", str(tmp_path))
    build = [UV, "build", "--wheel", "--no-build-isolation", "--offline", "--python", sys.executable]
    folder = tmp_path / "wheels"
    subprocess.run([*build, "--out-dir", folder, tmp_path / "extra-plugin"], check=True, capture_output=True)
    (listing,) = LISTING.findall((ROOT / "docs" / "plugins.md").read_text())
    subprocess.run(["bash", "-c", listing], cwd=folder, check=True)
    return folder


def run(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def installed(command: list[str], wheels: Path) -> "subprocess.CompletedProcess[str]":
    here = [
        part.replace("/wheels", str(wheels)).replace("/plugins", str(wheels.parent / "plugins")) for part in command
    ]
    return subprocess.run([sys.executable, *here[1:]], capture_output=True, text=True, check=False)


def test_a_wheel_with_its_hash_is_installed_and_found(command: list[str], wheels: Path) -> None:
    done = installed(command, wheels)
    assert done.returncode == 0, done.stdout + done.stderr
    path = str(wheels.parent / "plugins")
    assert "extra-plugin" in run("-m", "pilotfish", "plugins", "list", PYTHONPATH=path)
    assert "Answer in one sentence." in run(
        "-m", "pilotfish", "plugins", "show", "extra-plugin", PYTHONPATH=path, COLUMNS="200"
    )


def test_a_wheel_with_another_hash_is_refused(command: list[str], wheels: Path) -> None:
    (wheel,) = wheels.glob("*.whl")
    wheel.write_bytes(wheel.read_bytes() + b"changed")
    done = installed(command, wheels)
    assert done.returncode != 0
    assert "HASHES" in done.stderr
    assert not list((wheels.parent / "plugins").glob("*"))
