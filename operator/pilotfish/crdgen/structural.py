"""From a Pydantic model to the structural schema that an API server takes.

An API server wants no references, no null types, no `const`, bounds on whatever a CEL rule may walk, and a list type on
every list. Whatever this module does not know how to say in such a schema is an error, so a model can never become
looser on its way to the cluster.
"""

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from pilotfish.api.common import Model, Rule
from pilotfish.base.errors import PilotfishError

Schema = dict[str, Any]

_KEPT = (
    "type",
    "format",
    "description",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "maxProperties",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
)
_TRANSLATED = ("title", "default", "properties", "required", "items", "additionalProperties", "exclusiveMinimum")
_PRESERVE = "x-kubernetes-preserve-unknown-fields"


class UnknownConstruct(PilotfishError):
    """A model says something that a structural schema cannot, or leaves out a bound that every field must have."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path or 'the root'}: {message}")


class _WithRules(GenerateJsonSchema):
    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        json = super().model_schema(schema)
        model = schema["cls"]
        if issubclass(model, Model) and model.rules:
            json["x-kubernetes-validations"] = validations(model)
        return json


def validations(model: type[Model]) -> list[Schema]:
    """The rules of `model` as CEL, each with its message and, where a field can be named, its path."""
    return [_validation(rule) for rule in model.rules]


def _validation(rule: Rule) -> Schema:
    validation = {"rule": rule.cel, "message": rule.message}
    # metadata has no fields in a CRD's schema, so that no path may lead into it
    if rule.field and rule.field[0] != "metadata":
        validation["fieldPath"] = "".join(f".{name}" for name in rule.field)
    return validation


def structural_schema(model: type[Model]) -> Schema:
    """The structural schema of `model`, references resolved, rules as `x-kubernetes-validations`.

    Raises UnknownConstruct for anything that such a schema cannot say, and for a string, list or map without a bound.
    """
    whole = model.model_json_schema(by_alias=True, schema_generator=_WithRules)
    definitions = whole.pop("$defs", {})
    return _convert(whole, definitions, "")


def _convert(schema: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> Schema:
    flat = _without_null(_resolve(schema, definitions), definitions, path)
    unknown = set(flat) - set(_KEPT) - set(_TRANSLATED)
    if "const" in flat:
        flat["enum"] = [flat["const"]]
        unknown.discard("const")
    if unknown or "type" not in flat:
        raise UnknownConstruct(path, f"no structural schema can say {sorted(unknown) or 'a value without a type'}")
    result: Schema = {key: flat[key] for key in _KEPT if key in flat and (key, flat[key]) != ("minItems", 0)}
    if "exclusiveMinimum" in flat:
        result["minimum"] = flat["exclusiveMinimum"] + 1
    if flat.get("default") not in (None, "", [], {}):  # absent and empty mean the same
        result["default"] = flat["default"]
    match flat["type"]:
        case "object":
            result |= _object(flat, definitions, path)
        case "array":
            result |= _array(flat, definitions, path)
        case "string":
            _require(path, flat, "a string needs", "maxLength", "enum", "format")
        case "integer":
            pass
        case other:
            raise UnknownConstruct(path, f"the API has no fields of type {other}")
    return result


def _resolve(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    flat = dict(schema)
    while "$ref" in flat:
        target = definitions[flat.pop("$ref").removeprefix("#/$defs/")]
        flat = {**target, **flat}
    return flat


def _without_null(flat: Schema, definitions: Mapping[str, Any], path: str) -> Schema:
    if "anyOf" not in flat:
        return flat
    options = [option for option in flat.pop("anyOf") if option != {"type": "null"}]
    if len(options) != 1:
        raise UnknownConstruct(path, "a field has one type; a choice of several is a union with `type`")
    return {**_resolve(options[0], definitions), **flat}


def _object(flat: Schema, definitions: Mapping[str, Any], path: str) -> Schema:
    if flat.get(_PRESERVE):
        return {}
    values = flat.get("additionalProperties", False)
    if isinstance(values, dict):
        _require(path, flat, "a map needs", "maxProperties")
        return {"additionalProperties": _convert(values, definitions, f"{path}[*]")}
    if values is not False or "properties" not in flat:
        raise UnknownConstruct(path, "an object has fields, or values of one type, or is Opaque")
    result: Schema = {
        "properties": {
            name: _convert(field, definitions, f"{path}.{name}") for name, field in flat["properties"].items()
        }
    }
    if flat.get("required"):
        result["required"] = flat["required"]
    return result


def _array(flat: Schema, definitions: Mapping[str, Any], path: str) -> Schema:
    _require(path, flat, "a list needs", "maxItems")
    _require(path, flat, "a list needs", "x-kubernetes-list-type")
    return {"items": _convert(flat["items"], definitions, f"{path}[*]")}


def _require(path: str, flat: Schema, what: str, *keys: str) -> None:
    if not any(key in flat for key in keys):
        raise UnknownConstruct(path, f"{what} {' or '.join(keys)}")
