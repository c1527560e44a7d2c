"""What the built-in scorers share: reading config and artifacts, and the text of a question."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from pilotfish.api.common import Model
from pilotfish.base.errors import BadUpstream, ConfigError
from pilotfish.plugin_api.scorers import Question, Settings

LARGEST_ARTIFACT_BYTES = 512 * 1024 * 1024
"""An artifact that says it unpacks to more than this is refused before it is unpacked."""

Floats = NDArray[np.float64]
ConfigT = TypeVar("ConfigT", bound=Model)


def read_config(model: type[ConfigT], settings: Settings) -> ConfigT:
    """The scorer's config. Raises ConfigError with the path, below `config`, of the first fault."""
    try:
        return model.model_validate(dict(settings.config))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigError("config" + "".join(f".{part}" for part in first["loc"]), first["msg"]) from error


def read_artifact(settings: Settings, kind: str) -> dict[str, NDArray[Any]]:
    """The arrays of an npz artifact made by `write_artifact`. Raises ConfigError if it is absent, broken, or of
    another kind.
    """
    if settings.artifact is None:
        raise ConfigError("artifact", f"scorer {kind!r} needs what `pilotfish calibrate` made of a log: set artifact")
    try:
        with zipfile.ZipFile(io.BytesIO(settings.artifact)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > LARGEST_ARTIFACT_BYTES:
            raise ConfigError("artifact", f"unpacks to {size} bytes, more than {LARGEST_ARTIFACT_BYTES}")
        with np.load(io.BytesIO(settings.artifact), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, KeyError) as error:
        raise ConfigError("artifact", f"is not an npz file of scorer {kind!r}: {error}") from error
    found = str(arrays.pop("kind", np.array("none")))
    if found != kind:
        raise ConfigError("artifact", f"was made for {found!r}, not for {kind!r}")
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ConfigError("artifact", f"array {name!r} holds values that are not finite")
    return arrays


def write_artifact(kind: str, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of an npz file that `read_artifact` accepts for `kind`; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in sorted({**arrays, "kind": np.array(kind)}.items()):
            member = io.BytesIO()
            np.save(member, array, allow_pickle=False)
            # A fixed time keeps equal artifacts equal, byte for byte.
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, member.getvalue())
    return buffer.getvalue()


def require(arrays: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int | None, ...]]) -> None:
    """Check that arrays are there and have these shapes (None: any length). Raises ConfigError that names the array."""
    for name, shape in shapes.items():
        if name not in arrays:
            raise ConfigError("artifact", f"lacks the array {name!r}")
        found = arrays[name].shape
        if len(found) != len(shape) or any(want not in (None, have) for have, want in zip(found, shape, strict=True)):
            raise ConfigError("artifact", f"array {name!r} has shape {found}, not {shape}")


def message_text(message: Mapping[str, Any]) -> str:
    """The text of one chat message; parts that are no text count for nothing."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return ""


def question_text(question: Question) -> str:
    """What users said in the conversation, joined by newlines."""
    return "\n".join(message_text(message) for message in question.messages if message.get("role", "user") == "user")


def completions(response: Mapping[str, Any]) -> list[str]:
    """The texts of a chat completion's choices. Raises BadUpstream if it holds none."""
    choices = response.get("choices")
    if not isinstance(choices, Sequence) or not choices:
        raise BadUpstream("the model server's answer to a scorer has no choices")
    return [str((choice.get("message") or {}).get("content") or "") for choice in choices]


def permille(probability: float) -> int:
    """A probability on the scale of scores; whatever is outside 0 to 1 is put to its nearer end."""
    return round(1000 * min(1.0, max(0.0, probability)))


def sigmoid(value: float) -> float:
    """1 / (1 + exp(-value)), without overflow."""
    return float(np.exp(-np.logaddexp(0.0, -value)))
