"""From a Pydantic model to the structural schema of a CRD.

A structural schema has no references, no null types and no `const`. Every list has a list type, and everything that a
CEL rule may iterate over has a bound. A construct that this module cannot express is an error, so that the schema never
accepts what the model rejects.
"""

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from pilotfish.api.common import Model, Rule
from pilotfish.base.errors import PilotfishError
from pilotfish.crdgen.descriptions import field_descriptions, unwrapped

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
    """A model has a construct that a structural schema cannot express, or a field without a bound or a docstring."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path or 'the root'}: {message}")


class _Documented(GenerateJsonSchema):
    """Adds the rules of a model, and the descriptions of its fields."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        json = super().model_schema(schema)
        model = schema["cls"]
        if issubclass(model, Model) and model.rules:
            json["x-kubernetes-validations"] = validations(model)
        json["description"] = unwrapped(model.__doc__ or "")
        documented = field_descriptions(model)
        for name, field in model.model_fields.items():
            wire = field.alias or name
            json["properties"][wire]["description"] = documented.get(name, "")
        return json


def validations(model: type[Model]) -> list[Schema]:
    """The rules of `model` in CEL, each with its message and, unless it concerns metadata, its field path."""
    return [_validation(rule) for rule in model.rules]


def _validation(rule: Rule) -> Schema:
    validation = {"rule": rule.cel, "message": rule.message}
    # a field path must not lead into metadata, because it has no fields in the schema of a CRD
    if rule.field and rule.field[0] != "metadata":
        validation["fieldPath"] = "".join(f".{name}" for name in rule.field)
    return validation


def structural_schema(model: type[Model]) -> Schema:
    """The structural schema of `model`: rules become `x-kubernetes-validations`, docstrings become descriptions.

    Raises UnknownConstruct for a construct that the schema cannot express, for a string, list or map without a bound,
    and for a field without a docstring.
    """
    whole = model.model_json_schema(by_alias=True, schema_generator=_Documented)
    definitions = whole.pop("$defs", {})
    return _convert(whole, definitions, "")


def _convert(schema: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> Schema:
    flat = _without_null(_resolve(schema, definitions), definitions, path)
    unknown = set(flat) - set(_KEPT) - set(_TRANSLATED)
    if "const" in flat:
        flat["enum"] = [flat["const"]]
        unknown.discard("const")
    if unknown or "type" not in flat:
        raise UnknownConstruct(path, f"the schema cannot express {sorted(unknown) or 'a value without a type'}")
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
        raise UnknownConstruct(path, "a field must have one type: for a choice of several, declare a union with `type`")
    return {**_resolve(options[0], definitions), **flat}


def _object(flat: Schema, definitions: Mapping[str, Any], path: str) -> Schema:
    if flat.get(_PRESERVE):
        return {}
    values = flat.get("additionalProperties", False)
    if isinstance(values, dict):
        _require(path, flat, "a map needs", "maxProperties")
        return {"additionalProperties": _convert(values, definitions, f"{path}[*]")}
    if values is not False or "properties" not in flat:
        raise UnknownConstruct(path, "an object must have fields, or values of one type, or be Opaque")
    result: Schema = {"properties": {}}
    for name, field in flat["properties"].items():
        converted = _convert(field, definitions, f"{path}.{name}")
        if not field.get("description"):
            raise UnknownConstruct(f"{path}.{name}", "a field needs a docstring, which `kubectl explain` prints")
        result["properties"][name] = converted | {"description": _with_bounds(field["description"], converted)}
    if flat.get("required"):
        result["required"] = flat["required"]
    return result


def _with_bounds(description: str, schema: Schema) -> str:
    """The description with the default and the range of the field, which `kubectl explain` does not print."""
    facts = []
    if isinstance(schema.get("default"), str | int):
        facts.append(f"Defaults to {schema['default']}.")
    if "minimum" in schema and "maximum" in schema:
        facts.append(f"Must be from {schema['minimum']} to {schema['maximum']}.")
    separator = "\n\n" if "\n" in description else " "
    return separator.join([description, " ".join(facts)]) if facts else description


def _array(flat: Schema, definitions: Mapping[str, Any], path: str) -> Schema:
    _require(path, flat, "a list needs", "maxItems")
    _require(path, flat, "a list needs", "x-kubernetes-list-type")
    return {"items": _convert(flat["items"], definitions, f"{path}[*]")}


def _require(path: str, flat: Schema, what: str, *keys: str) -> None:
    if not any(key in flat for key in keys):
        raise UnknownConstruct(path, f"{what} {' or '.join(keys)}")
