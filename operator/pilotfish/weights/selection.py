"""Which files of a location make a model: the smallest set that an engine loads."""

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from pilotfish.base.errors import WeightsError
from pilotfish.plugin_api.sources import RemoteFile

_BESIDE_WEIGHTS = frozenset({".json", ".jinja", ".model", ".txt", ".tiktoken", ".py"})
_FORMATS = (".safetensors", ".bin", ".pt")
"""Formats of weights in order of preference."""


def wanted(uri: str, files: Sequence[RemoteFile]) -> tuple[RemoteFile, ...]:
    """The files to fetch: one GGUF file, or weights in one format with config and tokenizer.

    Subfolders are ignored, because they contain other formats of the same model. Raises WeightsError if the files are
    no model, or several.
    """
    if len(files) == 1:
        return tuple(files)
    top = [file for file in files if "/" not in file.path]
    for suffix in _FORMATS:
        weights = [file for file in top if _suffix(file) == suffix and not file.path.startswith("consolidated")]
        if weights:
            return (*weights, *(file for file in top if _suffix(file) in _BESIDE_WEIGHTS))
    quantised = [file for file in top if _suffix(file) == ".gguf"]
    if len(quantised) == 1:
        return tuple(quantised)
    if quantised:
        names = ", ".join(file.path for file in quantised[:8])
        raise WeightsError(f"{uri}: has several models: add the name of one file to the address ({names})")
    raise WeightsError(f"{uri}: has no weights: no *.safetensors, *.bin or *.gguf file was found: correct the address")


def is_model(names: Iterable[str]) -> bool:
    """Whether files with these names in one folder are a model (or an adapter) that an engine loads."""
    listed = frozenset(names)
    weights = any(PurePosixPath(name).suffix in _FORMATS for name in listed)
    return weights and bool(listed & {"config.json", "adapter_config.json"})


def _suffix(file: RemoteFile) -> str:
    return PurePosixPath(file.path).suffix
