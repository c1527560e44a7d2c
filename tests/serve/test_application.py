"""What Serve imports to build a pool's application."""

import subprocess
import sys

HEAVY = "{'vllm', 'torch', 'transformers'}"
IMPORTS = f"import sys, pilotfish.engine.application; sys.exit(bool({HEAVY} & set(sys.modules)))"


def test_an_application_is_built_without_an_engine():
    """Serve builds each application in a process of its own, which would cost as much as an engine's."""
    assert subprocess.run([sys.executable, "-c", IMPORTS], check=False).returncode == 0
