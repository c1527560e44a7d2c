"""YAML with positions: documents as plain values, and the line of every field in them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from pilotfish.api.common import FieldPath
from pilotfish.api.validation import format_path


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: what looks like a date stays text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


_JSON_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null", "merge")
)


class MalformedYaml(Exception):
    """The text is no YAML, or YAML that no manifest may be. Knows the line (from 1)."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Document:
    """One document of a file: its value, and where its parts stand."""

    value: Any
    _root: yaml.Node

    def line(self, path: FieldPath = ()) -> int:
        """The line (from 1) of the field, or of the nearest thing around it that is there."""
        line, node = self._root.start_mark.line, self._root
        for part in path:
            found = _child(node, part)
            if found is None:
                break
            line, node = found
        return int(line) + 1


def documents(text: str) -> Iterator[Document]:
    """The documents of a text that are not empty, in order. Raises MalformedYaml."""
    loader = None
    try:
        loader = _Loader(text)
        while loader.check_node():
            root = loader.get_node()
            if root is None or (isinstance(root, yaml.ScalarNode) and root.tag == "tag:yaml.org,2002:null"):
                continue
            _refuse(root, (), [], set())
            # construction flattens `<<` in place, so the nodes are kept from before it
            yield Document(loader.construct_document(root), root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise MalformedYaml(mark.line + 1 if mark else 1, _words(error)) from error
    except yaml.reader.ReaderError as error:
        raise MalformedYaml(text.count("\n", 0, error.position) + 1, f"not YAML: {error.reason}") from error
    finally:
        if loader is not None:
            loader.dispose()


def _words(error: yaml.MarkedYAMLError) -> str:
    return "not YAML: " + ", ".join(text for text in (error.context, error.problem) if text)


def _child(node: yaml.Node, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return key.start_mark.line, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        item = node.value[part]
        return item.start_mark.line, item
    return None


def _refuse(node: yaml.Node, path: FieldPath, around: list[yaml.Node], seen: set[int]) -> None:
    """Raise MalformedYaml for a key that is twice in a mapping or no text, and for what JSON cannot say."""
    if any(node is outer for outer in around):
        raise MalformedYaml(node.start_mark.line + 1, f"{format_path(path)}: an alias refers to itself: remove it")
    if node.tag not in _JSON_TAGS:
        raise MalformedYaml(
            node.start_mark.line + 1,
            f"{format_path(path) or 'document'}: the YAML tag {node.tag} is not allowed in a manifest",
        )
    if id(node) in seen:
        return
    seen.add(id(node))
    around.append(node)
    if isinstance(node, yaml.MappingNode):
        keys: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise MalformedYaml(
                    line, f"{format_path(path) or 'document'}: a field's name must be a string: put it in quotes"
                )
            here = (*path, key.value)
            if key.value in keys:
                raise MalformedYaml(line, f"{format_path(here)}: occurs twice, first in line {keys[key.value]}")
            keys[key.value] = line
            _refuse(value, here, around, seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _refuse(item, (*path, index), around, seen)
    around.pop()
