"""Plugins that come with Pilotfish. Of Pilotfish they import `plugin_api`, `api` and `base` alone."""
