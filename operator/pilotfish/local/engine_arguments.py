"""Names of vLLM's engine arguments, read from the installed vLLM without importing it, which takes many seconds."""

import ast
import difflib
import importlib.util
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from pilotfish.base.errors import ConfigError

_MODULES = ("engine/arg_utils.py", "entrypoints/launchers/cli_args.py")
_SUFFIX = "Args"


def check(arguments: Iterable[str]) -> None:
    """Raise ConfigError for the first name that the installed vLLM does not know; its engine would fail."""
    known = _known()
    for name in arguments:
        if known and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "remove it"
            raise ConfigError(f"spec.engine.args.{name}", f"the installed vLLM has no such engine argument: {hint}")


@cache
def _known() -> frozenset[str]:
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        return frozenset()
    files = [Path(spec.origin).parent / module for module in _MODULES]
    if not all(file.exists() for file in files):
        return frozenset()  # another layout of vLLM: vLLM checks the names itself when the engine starts
    return frozenset(name for file in files for name in _fields(file))


def _fields(file: Path) -> Iterator[str]:
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name.endswith(_SUFFIX):
            for statement in node.body:
                if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                    yield statement.target.id
