"""Secrets of local mode: from manifests in the folder, or from files on the command line."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pilotfish.api.common import SecretKeyRef
from pilotfish.base.errors import ConfigError
from pilotfish.base.keys import DEFAULT_NAMESPACE, Key
from pilotfish.manifests import KeyedData


@dataclass(frozen=True)
class Secrets:
    """Bytes by Secret and by the name of their entry; they are in no repr."""

    data: Mapping[Key, Mapping[str, bytes]] = field(default_factory=dict, repr=False)

    @classmethod
    def gather(cls, manifests: Mapping[Key, KeyedData], given: Iterable[str] = ()) -> "Secrets":
        """Secrets of the manifests and of `NAME/KEY=FILE`, which take precedence. Raises ConfigError."""
        data = {key: dict(value.data) for key, value in manifests.items()}
        for text in given:
            name, key, file = _parse(text)
            data.setdefault(Key("Secret", DEFAULT_NAMESPACE, name), {})[key] = _read(file, text)
        return cls(data)

    def get(self, namespace: str, ref: SecretKeyRef, field_path: str) -> str:
        """The value of one key. Raises ConfigError with `field_path` and how to set the secret."""
        value = self.data.get(Key("Secret", namespace, ref.name), {}).get(ref.key)
        if value is None:
            raise ConfigError(
                field_path,
                f"no Secret {ref.name!r} with the key {ref.key!r} exists: add the Secret to the folder,"
                f" or set --secret {ref.name}/{ref.key}=FILE",
            )
        return value.decode().strip()


def parse_volumes(given: Iterable[str]) -> dict[str, Path]:
    """Folders by the name of the volume that they stand for, from `NAME=PATH`. Raises ConfigError."""
    volumes = {}
    for text in given:
        name, _, path = text.partition("=")
        folder = Path(path)
        if not name or not path or not folder.is_dir():
            raise ConfigError("--volume", f"{text!r} must be NAME=PATH with the path of a folder")
        volumes[name] = folder.resolve()
    return volumes


def _parse(text: str) -> tuple[str, str, Path]:
    ref, _, file = text.partition("=")
    name, _, key = ref.partition("/")
    if not (name and key and file):
        raise ConfigError("--secret", f"{text!r} must be NAME/KEY=FILE")
    return name, key, Path(file)


def _read(file: Path, text: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError("--secret", f"{text!r}: {error.strerror}: {file}") from error
