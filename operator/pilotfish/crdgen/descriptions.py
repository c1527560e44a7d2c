"""Descriptions of fields, read from the docstrings below them in the source of the models.

Only the generator of the CRDs needs them, so importing the models does not pay for parsing their source.
"""

import ast
import inspect
import re
import sys
from functools import cache
from types import ModuleType

from pilotfish.api.common import Model

_WRAPPED_LINE = re.compile(r"(?<!\n)\n(?![\n-])")


def unwrapped(docstring: str) -> str:
    """The docstring with one line per paragraph and per item of a list, which every client wraps to its own width."""
    return _WRAPPED_LINE.sub(" ", inspect.cleandoc(docstring))


def field_descriptions(model: type[Model]) -> dict[str, str]:
    """The description of each documented field of `model`, inherited ones included, by its Python name."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if issubclass(cls, Model):
            found |= _documented(sys.modules[cls.__module__]).get(cls.__qualname__, {})
    return found


@cache
def _documented(module: ModuleType) -> dict[str, dict[str, str]]:
    classes = (node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ClassDef))
    return {cls.name: _attribute_docstrings(cls) for cls in classes}


def _attribute_docstrings(cls: ast.ClassDef) -> dict[str, str]:
    found = {}
    for statement, following in zip(cls.body, cls.body[1:], strict=False):
        match statement, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = unwrapped(text)
    return found
