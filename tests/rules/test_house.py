"""Rules of the house that no linter checks."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from pilotfish.telemetry.metrics import GatewayMetrics

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "operator" / "pilotfish"
LONGEST_MODULE = 400
LONGEST_FUNCTION = 60
EXCEPTIONS: dict[str, str] = {}
"""Path from the root, or path:function, and the reason why it may be longer."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.splitlines() if (ROOT / name).is_file()]


def test_the_folder_operator_never_shadows_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_and_functions_are_short_and_say_what_they_are(module: Path) -> None:
    text = module.read_text()
    tree = ast.parse(text)
    name = str(module.relative_to(ROOT))
    assert ast.get_docstring(tree), "a module says what belongs in it"
    if name not in EXCEPTIONS:
        assert len(text.splitlines()) <= LONGEST_MODULE
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and f"{name}:{node.name}" not in EXCEPTIONS:
            assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, node.name


def test_locks_hold_hashes_and_no_addresses() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text()
        assert "http" not in re.sub(r"^[\w.-]*http[\w.-]*", "", text, flags=re.MULTILINE).replace("[http", ""), lock
        if lock.name != "overrides.txt":
            pinned = re.findall(r"^[\w.-]+(?:\[[\w,-]+\])?==", text, flags=re.MULTILINE)
            assert pinned
            assert text.count("--hash=sha256:") >= len(pinned), lock


def test_nothing_tracked_names_a_machine_s_folders() -> None:
    forbidden = re.compile("(?<![\\w.])/(?:" + "work|farm" + ")/")
    for path in tracked():
        if path.suffix in {".sum", ".png", ".gz"}:
            continue
        assert not forbidden.search(path.read_text(errors="replace")), path


def test_every_metric_is_documented() -> None:
    text = (ROOT / "docs" / "observability.md").read_text()
    for family in GatewayMetrics().registry.collect():
        assert f"`{family.name}`" in text, family.name
