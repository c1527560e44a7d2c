"""Artifacts: npz files of arrays, which `pilotfish calibrate` writes and a scorer reads."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.settings import Settings

LARGEST_ARTIFACT_BYTES = 512 * 1024 * 1024
"""The largest unpacked size of an artifact. It is checked before the artifact is unpacked."""


def read_artifact(settings: Settings, kind: str) -> dict[str, NDArray[Any]]:
    """The arrays of an npz artifact made by `write_artifact`. Raises ConfigError if it is absent, broken, or of
    another kind.
    """
    if settings.artifact is None:
        raise ConfigError(
            "artifact",
            f"scorer {kind!r} needs an artifact: run `pilotfish calibrate` on a log, and set `artifact` to its result",
        )
    try:
        with zipfile.ZipFile(io.BytesIO(settings.artifact)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > LARGEST_ARTIFACT_BYTES:
            raise ConfigError(
                "artifact", f"unpacks to {size} bytes, more than {LARGEST_ARTIFACT_BYTES}: calibrate again"
            )
        with np.load(io.BytesIO(settings.artifact), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, KeyError) as error:
        raise ConfigError("artifact", f"is not an npz file of scorer {kind!r}: calibrate again ({error})") from error
    found = str(arrays.pop("kind", np.array("none")))
    if found != kind:
        raise ConfigError("artifact", f"is for scorer {found!r}, not for {kind!r}: run `pilotfish calibrate`")
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ConfigError(
                "artifact", f"array {name!r} has values that are not finite: run `pilotfish calibrate` again"
            )
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
    """Check that arrays exist and have these shapes (None: any length). Raises ConfigError that names the array."""
    for name, shape in shapes.items():
        if name not in arrays:
            raise ConfigError("artifact", f"has no array {name!r}: calibrate again")
        found = arrays[name].shape
        if len(found) != len(shape) or any(want not in (None, have) for have, want in zip(found, shape, strict=True)):
            raise ConfigError("artifact", f"array {name!r} has shape {found}, not {shape}: calibrate again")
