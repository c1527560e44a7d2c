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
}
_PYDANTIC_SUBJECT = re.compile(r"^(Input|String|Value|Dictionary|Tuple|List) should ")


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
        return None, (Fault(("apiVersion",), f"must be {API_VERSION}"),)
    if not isinstance(kind, str) or kind not in models:
        return None, (Fault(("kind",), f"must be one of {', '.join(models)}; got {kind!r}"),)
    try:
        # strict JSON with camelCase names only, so that a manifest is rejected here if the API server rejects it
        return models[kind].model_validate_json(to_json(value), strict=True, by_alias=True, by_name=False), ()
    except ValidationError as error:
        return None, tuple(fault for detail in error.errors(include_url=False) for fault in _faults(detail))


def _length_faults(path: FieldPath, length: int, context: Mapping[str, Any]) -> list[Fault]:
    least, most = context.get("min_length", 0), context.get("max_length", length)
    if least <= length <= most:
        return []  # pydantic counts valid items only, and reports the faults of the others as well
    bound = f"at least {least}" if length < least else f"at most {most}"
    return [Fault(path, f"must have {bound} items; got {length}")]


def _faults(detail: ErrorDetails) -> list[Fault]:
    path: FieldPath = tuple(detail["loc"])
    context = detail.get("ctx", {})
    match detail["type"]:
        case "rules":
            return [Fault(path + tuple(field), message) for field, message in context["broken"]]
        case "extra_forbidden":
            return [Fault(path, "unknown field: remove it, or correct its name")]
        case "missing":
            return [Fault(path, "is required")]
        case "string_pattern_mismatch":
            advice = _PATTERN_ADVICE.get(context["pattern"], f"must match {context['pattern']}")
            return [Fault(path, f"{advice}; got {detail['input']!r}")]
        case "enum" | "literal_error":
            return [Fault(path, f"must be {context['expected']}; got {detail['input']!r}")]
        case "too_short" | "too_long" if isinstance(detail["input"], Sized):
            return _length_faults(path, len(detail["input"]), context)
        case "string_type":
            return [Fault(path, f"must be a string; got {detail['input']!r}: put the value in quotes")]
    message = _PYDANTIC_SUBJECT.sub("must ", detail["msg"])
    return [Fault(path, message[0].lower() + message[1:])]
