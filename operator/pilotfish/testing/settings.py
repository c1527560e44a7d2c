"""Checks of how a plugin reads its settings."""

from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.settings import FromSettings, Settings


def refused_field(plugin: type[FromSettings], settings: Settings) -> str:
    """The field with which `from_settings` refuses the settings. Raises AssertionError where it accepts them."""
    try:
        plugin.from_settings(settings)
    except ConfigError as error:
        return error.field
    raise AssertionError(f"from_settings accepted {settings}")
