"""From the content of a manifest to a typed resource, or to the list of all faults in it."""

import re
from collections.abc import Mapping, Sized
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, to_json

from pilotfish.api import API_VERSION, Resource, common
from pilotfish.api.common import FieldPath
from pilotfish.api.reasons import Reason

_PATTERN_ADVICE = {
    common.URI: "must be an address with a scheme, such as hf://org/model or package://name/file",
    common.HTTP_URL: "must be an http:// or https:// URL without query or fragment",
    common.DECIMAL: 'must be a decimal number in quotes, not negative, with at most 9 decimals, such as "1.50"',
    common.DNS_LABEL: "must be lower-case letters, digits and '-', and start and end with a letter or digit",
    common.DNS_SUBDOMAIN: "must be lower-case letters, digits, '-' and '.', and start and end with a letter or digit",
    common.QUANTITY: "must be a quantity such as 500m, 4 or 16Gi",
    r"^[0-9a-f]{64}$": "must be a SHA-256: 64 lower-case hexadecimal digits",
    common.CURRENCY: "must be an ISO 4217 code of three capital letters, such as USD",
    common.CRON: 'must be a cron expression with five fields separated by one space, such as "0 8 * * 1-5"',
    common.VARIABLE: "must be letters, digits and '_', and must not start with a digit",
}
_TYPES = {
    "bool": "true or false",
    "dict": "an object",
    "float": "a number",
    "int": "an integer",
    "list": "a list",
    "model": "an object",
    "string": "a string",
    "tuple": "a list",
}
_WRONG_TYPE = re.compile(r"^([a-z]+)_(type|parsing|from_float|attributes_type)$")
_PYDANTIC_SUBJECT = re.compile(r"^(Input|String|Value|Dictionary|Tuple|List) should ")
_LONGEST_QUOTE = 80


@dataclass(frozen=True)
class Fault:
    """One fault of a manifest: the path of the field, the cause and the fix, and the reason that Accepted repeats."""

    path: FieldPath
    message: str
    reason: Reason = Reason.INVALID_SPEC

    def __str__(self) -> str:
        where = format_path(self.path)
        return f"{where}: {self.message}" if where else self.message


def format_path(path: FieldPath) -> str:
    """The path `("spec", "stages", 0, "name")` as `spec.stages[0].name`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def parse(value: object, models: Mapping[str, type[Resource]]) -> tuple[Resource | None, tuple[Fault, ...]]:
    """The resource of one of `models`, which are by kind, and no faults; or None and all faults found."""
    if not isinstance(value, Mapping):
        return None, (Fault((), "must be a mapping with apiVersion, kind, metadata and spec"),)
    kind = value.get("kind")
    if value.get("apiVersion") != API_VERSION:
        return None, (Fault(("apiVersion",), f"must be {API_VERSION}; got {_quoted(value.get('apiVersion'))}"),)
    if not isinstance(kind, str) or kind not in models:
        return None, (Fault(("kind",), f"must be one of {', '.join(models)}; got {_quoted(kind)}"),)
    try:
        # strict JSON with camelCase names only, so that a manifest is rejected here if the API server rejects it
        return models[kind].model_validate_json(to_json(value), strict=True, by_alias=True, by_name=False), ()
    except ValidationError as error:
        return None, tuple(fault for detail in error.errors(include_url=False) for fault in _faults(detail))


def message_of(detail: ErrorDetails) -> str:
    """The cause of one error of Pydantic, and the fix where it is known."""
    context, given = detail.get("ctx", {}), detail["input"]
    if wrong := _WRONG_TYPE.match(detail["type"]):
        return _type_message(_TYPES.get(wrong[1], f"a {wrong[1]}"), given)
    match detail["type"]:
        case "extra_forbidden":
            return "unknown field: remove it, or correct its name"
        case "missing":
            return "is required"
        case "duplicate":
            return f"{detail['msg']}: remove or rename one"
        case "union_tag_not_found":
            return f"{context['discriminator']} is required"
        case "union_tag_invalid":
            return f"{context['discriminator']} must be one of {context['expected_tags']}; got {context['tag']!r}"
        case "value_error":
            return str(context["error"])
        case "string_pattern_mismatch":
            message = _PATTERN_ADVICE.get(context["pattern"], f"must match {context['pattern']}")
        case "enum" | "literal_error":
            message = f"must be {context['expected']}"
        case _:
            message = _PYDANTIC_SUBJECT.sub("must ", detail["msg"])
    return f"{message[0].lower()}{message[1:]}; got {_quoted(given)}"


def _type_message(wanted: str, given: object) -> str:
    fix = ""
    if wanted == "a string" and isinstance(given, bool | int | float):
        fix = ": put the value in quotes"
    if wanted in {"an integer", "a number"} and isinstance(given, str) and given.isdecimal():
        fix = ": remove the quotes"
    return f"must be {wanted}; got {_quoted(given)}{fix}"


def _quoted(value: object) -> str:
    text = repr(value) if isinstance(value, str) else to_json(value, fallback=repr).decode()
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"


def _length_faults(path: FieldPath, length: int, context: Mapping[str, Any]) -> list[Fault]:
    least, most = context.get("min_length", 0), context.get("max_length", length)
    if least <= length <= most:
        return []  # pydantic counts valid items only, and reports the faults of the others as well
    bound = f"at least {least}" if length < least else f"at most {most}"
    return [Fault(path, f"must have {bound} items; got {length}")]


def _faults(detail: ErrorDetails) -> list[Fault]:
    path: FieldPath = tuple(detail["loc"])
    if detail["type"] == "rules":
        return [Fault(path + tuple(field), message) for field, message in detail["ctx"]["broken"]]
    if detail["type"] in {"too_short", "too_long"} and isinstance(detail["input"], Sized):
        return _length_faults(path, len(detail["input"]), detail["ctx"])
    return [Fault(path, message_of(detail))]
