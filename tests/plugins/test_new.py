"""What `pilotfish plugins new` writes passes its own tests, and `pilotfish plugins check`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["adaptation", "scorer", "source"])
def test_a_new_plugin_passes_its_contract_suite(kind: str, tmp_path: Path) -> None:
    run("-m", "pilotfish", "plugins", "new", "my-plugin", "--kind", kind, folder=tmp_path)
    checked = run("-m", "pilotfish", "plugins", "check", "my-plugin", folder=tmp_path)
    assert "failed" not in checked
    source = tmp_path / "my-plugin" / "src"
    tested = run("-m", "pytest", "-q", "-p", "no:cacheprovider", folder=source.parent, PYTHONPATH=str(source))
    assert "passed" in tested
    if kind != "source":
        assert "skipped" not in checked
