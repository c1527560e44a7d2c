"""What a manifest says of a plugin, and how a plugin reads its `config`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from pilotfish.api.common import Model
from pilotfish.base.errors import ConfigError

ConfigT = TypeVar("ConfigT", bound=Model)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a manifest says of a scorer: `config` as it stands, and the bytes of its artifact."""

    config: Mapping[str, Any] = field(default_factory=dict)
    artifact: bytes | None = None


def read_config(model: type[ConfigT], settings: Settings) -> ConfigT:
    """The scorer's config. Raises ConfigError with the path, below `config`, of the first fault."""
    try:
        return model.model_validate(dict(settings.config))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigError("config" + "".join(f".{part}" for part in first["loc"]), first["msg"]) from error
