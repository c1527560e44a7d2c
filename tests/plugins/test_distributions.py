"""Every plugin distribution, built as a wheel and tested where nothing is installed but what it declares."""

import os
import subprocess
import sys
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FOLDERS = [*sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml")), ROOT / "examples" / "plugin"]
UV = Path(sys.executable).with_name("uv")


def build(folder: Path, into: Path) -> Path:
    command = [UV, "build", "--wheel", "--no-build-isolation", "--offline", "--python", sys.executable]
    subprocess.run([*command, "--out-dir", into, folder], check=True, capture_output=True, text=True)
    (wheel,) = into.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def pilotfish(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("pilotfish"))


def needed(requirements: list[str], ours: frozenset[str]) -> dict[str, Distribution]:
    """The installed distributions that these requirements need, directly or not, without ours."""
    found: dict[str, Distribution] = {}
    seen: set[str] = set()
    left = [Requirement(text) for text in requirements]
    while left:
        requirement = left.pop()
        name = canonicalize_name(requirement.name)
        if str(requirement) in seen or name in ours:
            continue
        seen.add(str(requirement))
        found[name] = distribution(name)
        extras = [{"extra": extra} for extra in ("", *requirement.extras)]
        left += [
            inner
            for inner in map(Requirement, found[name].requires or ())
            if inner.marker is None or any(inner.marker.evaluate(extra) for extra in extras)
        ]
    return found


def link(installed: Distribution, site: Path) -> None:
    """Make a distribution of this environment importable in another, without a copy of its files."""
    tops = {file.parts[0] for file in installed.files or () if file.parts[0] not in {"..", "__pycache__"}}
    for top in tops:
        if not (site / top).exists():
            (site / top).symlink_to(Path(str(installed.locate_file(top))))


def run(python: Path, *arguments: str, folder: Path) -> str:
    wide = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run([python, *arguments], cwd=folder, env=wide, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_its_wheel_passes_its_tests_with_the_declared_dependencies_alone(
    folder: Path, pilotfish: Path, tmp_path: Path
) -> None:
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    ours = frozenset({"pilotfish", canonicalize_name(project["name"])})
    wheel = build(folder, tmp_path / "wheel")
    clean = tmp_path / "clean"
    run(Path(sys.executable), "-m", "venv", "--without-pip", str(clean), folder=tmp_path)
    python = clean / "bin" / "python"
    install = [UV, "pip", "install", "--python", python, "--no-deps", "--no-index", "--offline", pilotfish, wheel]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = clean.glob("lib/python*/site-packages")
    extras = [text for texts in project["optional-dependencies"].values() for text in texts]
    core = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    for each in needed([*core, *project["dependencies"], *extras], ours).values():
        link(each, site)
    listed = [line.split() for line in run(python, "-m", "pilotfish", "plugins", folder=tmp_path).splitlines()]
    for group, points in project["entry-points"].items():
        for name, value in points.items():
            assert [group, name, project["name"], project["version"]] in listed
            module = value.partition(":")[0]
            where = run(python, "-c", f"import {module} as m; print(m.__file__)", folder=tmp_path)
            assert where.startswith(str(clean)), where
    if list(folder.glob("*.yaml")):
        quickstart = str(ROOT / "examples" / "quickstart")
        assert "warning" not in run(python, "-m", "pilotfish", "validate", quickstart, str(folder), folder=tmp_path)
    run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder), folder=tmp_path)
