"""Checks a config by making the plugin or scorer that it is for."""

from collections.abc import Iterator, Mapping
from typing import Any

from pilotfish.api.common import FieldPath
from pilotfish.api.reasons import Reason
from pilotfish.api.validation import Fault
from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.settings import Settings


def config_faults(path: FieldPath, plugin: Any, config: Mapping[str, Any]) -> Iterator[Fault]:
    """A config that the plugin rejects, or with which its `from_settings` fails."""
    try:
        plugin.from_settings(Settings(config=config))
    except ConfigError as error:
        yield Fault((*path, *error.field.split(".")), error.message, Reason.INVALID_PLUGIN_CONFIG)
    except Exception as error:  # noqa: BLE001 - from_settings is a plugin's code and may raise anything
        message = f"from_settings raised {type(error).__name__}: {error}: correct the config, or the plugin"
        yield Fault((*path, "config"), message, Reason.INVALID_PLUGIN_CONFIG)
