"""Plugins that come with Pilotfish. They use what `plugin_api` offers to every plugin, and nothing else."""
