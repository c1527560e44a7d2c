"""What `pilotfish plugins show` prints: the declaration of a plugin, and the fields of its config."""

import enum
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pilotfish.api.common import Model
from pilotfish.base.errors import ConfigError
from pilotfish.crdgen.descriptions import field_descriptions, unwrapped
from pilotfish.plugin_api.adaptations import Declaration
from pilotfish.plugin_api.settings import Settings

LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "matches {}",
}


@dataclass(frozen=True)
class ConfigField:
    """One field of a config, by its path in the manifest."""

    path: str
    type: str
    default: str
    description: str


def summary(plugin: type) -> str:
    """The first paragraph of the class's docstring."""
    return unwrapped(plugin.__doc__ or "").split("\n\n", maxsplit=1)[0]


def declaration_of(plugin: Any) -> Declaration:
    """What an adaptation declares with its default config. Without a default config, what its class declares."""
    try:
        return Declaration.of(plugin.from_settings(Settings()))
    except ConfigError:
        return Declaration.of(plugin)


def declared(plugin: Any, declaration: Declaration) -> Iterator[tuple[str, str]]:
    """What an adaptation declares, as names and values."""
    handles = {"on_request": "requests", "on_answer": "answers"}
    yield "handles", ", ".join(name for method, name in handles.items() if hasattr(plugin, method))
    yield "scope", declaration.scope.value
    if hasattr(plugin, "on_answer"):
        tokens = declaration.hold_tokens
        yield "mode", declaration.mode.value
        yield "holds back", "without limit" if tokens is None else f"at most {tokens} tokens"
    yield "protects", "yes: failurePolicy Ignore is refused" if declaration.protects else "no"
    yield "prepares", f"yes, format {plugin.prepared_format}" if hasattr(plugin, "prepare") else "no"


def config_model(plugin: type) -> type[Model] | None:
    """The model of the plugin's config, if it declares one."""
    found = getattr(plugin, "config_model", None)
    return found if inspect.isclass(found) and issubclass(found, Model) else None


def config_fields(model: type[Model]) -> Iterator[ConfigField]:
    """Every field of a config, those of nested objects after the object itself."""
    schema = model.model_json_schema(by_alias=True)
    yield from _Fields(schema.get("$defs", {}), {each.__name__: each for each in _models(model)}).of(schema, model, "")


@dataclass(frozen=True)
class _Fields:
    """Reads a JSON schema. `definitions` are its `$defs`, `models` the classes that they were made from."""

    definitions: Mapping[str, Any]
    models: Mapping[str, type[Model]]

    def of(self, schema: Mapping[str, Any], model: type[Model], prefix: str) -> Iterator[ConfigField]:
        described = field_descriptions(model)
        names = {info.alias or name: name for name, info in model.model_fields.items()}
        required = schema.get("required", ())
        for alias, value in schema.get("properties", {}).items():
            default = "required" if alias in required else _shown(value.get("default"))
            path = f"{prefix}{alias}"
            yield ConfigField(path, self.type(value), default, described.get(names.get(alias, alias), ""))
            for nested, below in self.nested(value):
                yield from self.of(self.definitions[nested], self.models[nested], path + below)

    def type(self, value: Mapping[str, Any]) -> str:
        if "$ref" in value:
            return self._referenced(value["$ref"])
        if "anyOf" in value:
            return " or ".join(self.type(each) for each in value["anyOf"] if each.get("type") != "null")
        if "enum" in value or "const" in value:
            return " | ".join(map(str, value.get("enum", [value.get("const")])))
        if value.get("type") == "array":
            return f"list of {self.type(value.get('items', {}))}{self._limits(value)}"
        if value.get("type") == "object" and isinstance(value.get("additionalProperties"), dict):
            return f"map of {self.type(value['additionalProperties'])}"
        return f"{value.get('type', 'any')}{self._limits(value)}"

    def _referenced(self, reference: str) -> str:
        name = reference.rpartition("/")[2]
        definition = self.definitions[name]
        return "object" if name in self.models else self.type(definition)

    def _limits(self, value: Mapping[str, Any]) -> str:
        limits = [text.format(value[name]) for name, text in LIMITS.items() if name in value]
        return f", {', '.join(limits)}" if limits else ""

    def nested(self, value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """The names of objects in a value, each with what follows the value's path for its fields."""
        if "$ref" in value and (name := value["$ref"].rpartition("/")[2]) in self.models:
            yield name, "."
        for each in value.get("anyOf", ()):
            yield from self.nested(each)
        for name, below in self.nested(value.get("items", {})) if "items" in value else ():
            yield name, f"[]{below}"


def _models(model: type[Model]) -> Iterator[type[Model]]:
    """The models of nested objects, each once."""
    seen: set[type[Model]] = set()
    left = [model]
    while left:
        for info in left.pop().model_fields.values():
            for each in _classes(info.annotation):
                if issubclass(each, Model) and each not in seen:
                    seen.add(each)
                    left.append(each)
    yield from seen


def _classes(annotation: object) -> Iterator[type]:
    if inspect.isclass(annotation) and not get_args(annotation):
        yield annotation
    for argument in get_args(annotation):
        yield from _classes(argument)


def _shown(default: object) -> str:
    if default is None:
        return ""
    return str(default.value) if isinstance(default, enum.Enum) else str(default)
