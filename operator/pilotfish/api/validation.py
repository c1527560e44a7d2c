"""From a manifest's value to a typed resource, or to every fault in it."""

from collections.abc import Mapping, Sized
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, to_json

from pilotfish.api import API_VERSION, KINDS, Resource, common

Path = tuple[str | int, ...]

_PATTERN_ADVICE = {
    common.URI: "must be an address with a scheme, such as hf://org/model or package://name/file",
    common.HTTP_URL: "must be an http:// or https:// address without query",
    common.DECIMAL: 'must be a decimal number in quotes that is not negative, such as "1.50"',
    common.DNS_LABEL: "must be lower-case letters, digits and '-', beginning and ending with a letter or digit",
    common.DNS_SUBDOMAIN: "must be lower-case letters, digits, '-' and '.', with letters or digits at both ends",
    common.QUANTITY: "must be a quantity such as 500m, 4 or 16Gi",
    r"^[0-9a-f]{64}$": "must be the 64 hexadecimal digits of a SHA-256",
}


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a manifest: where, and what to do about it."""

    path: Path
    message: str

    def __str__(self) -> str:
        where = format_path(self.path)
        return f"{where}: {self.message}" if where else self.message


def format_path(path: Path) -> str:
    """`("spec", "stages", 0, "name")` as `spec.stages[0].name`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def parse_resource(value: object) -> tuple[Resource | None, tuple[Fault, ...]]:
    """The typed resource, or None and every fault that was found."""
    if not isinstance(value, Mapping):
        return None, (Fault((), "a document must be a mapping with apiVersion, kind, metadata and spec"),)
    kind = value.get("kind")
    if value.get("apiVersion") != API_VERSION:
        return None, (Fault(("apiVersion",), f"must be {API_VERSION}"),)
    if not isinstance(kind, str) or kind not in KINDS:
        return None, (Fault(("kind",), f"must be one of {', '.join(KINDS)}, not {kind!r}"),)
    try:
        # as JSON and strict, names only as in the manifest: what the API server refuses is refused here
        return KINDS[kind].model_validate_json(to_json(value), strict=True, by_alias=True, by_name=False), ()
    except ValidationError as error:
        return None, tuple(fault for detail in error.errors(include_url=False) for fault in _faults(detail))


def _length_faults(path: Path, length: int, context: Mapping[str, Any]) -> list[Fault]:
    least, most = context.get("min_length", 0), context.get("max_length", length)
    if least <= length <= most:
        return []  # pydantic counts good items alone; what is wrong with the others is told with them
    bound = f"at least {least}" if length < least else f"at most {most}"
    return [Fault(path, f"must have {bound} items; it has {length}")]


def _faults(detail: ErrorDetails) -> list[Fault]:
    path: Path = tuple(detail["loc"])
    context = detail.get("ctx", {})
    match detail["type"]:
        case "rules":
            return [Fault(path + tuple(field), message) for field, message in context["broken"]]
        case "extra_forbidden":
            return [Fault(path, "unknown field: remove it, or mend its name")]
        case "missing":
            return [Fault(path, "is required")]
        case "string_pattern_mismatch":
            advice = _PATTERN_ADVICE.get(context["pattern"], f"must match {context['pattern']}")
            return [Fault(path, f"{advice}; it is {detail['input']!r}")]
        case "enum" | "literal_error":
            return [Fault(path, f"must be {context['expected']}; it is {detail['input']!r}")]
        case "too_short" | "too_long" if isinstance(detail["input"], Sized):
            return _length_faults(path, len(detail["input"]), context)
    message = detail["msg"]
    return [Fault(path, message[0].lower() + message[1:])]
