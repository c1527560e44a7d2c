"""What a manifest sets for a plugin, and how a plugin reads its `config`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from pydantic import ValidationError

from pilotfish.api.common import Model
from pilotfish.api.validation import message_of
from pilotfish.base.errors import ConfigError

ConfigT = TypeVar("ConfigT", bound=Model)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a manifest sets: `config`, unchanged, and the bytes of the artifact that it names.

    `prepared` is the folder that the plugin prepared, None where it has prepared nothing.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    artifact: bytes | None = None
    prepared: Path | None = None


def read_config(model: type[ConfigT], settings: Settings) -> ConfigT:
    """The config as a `model`. Raises ConfigError with the path of the first invalid field."""
    try:
        return model.model_validate(dict(settings.config))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigError("config" + "".join(f".{part}" for part in first["loc"]), message_of(first)) from error


class FromSettings(Protocol):
    """How a plugin that a manifest configures is made."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Validate config and artifact. Raises ConfigError with the field's path below `config`."""
