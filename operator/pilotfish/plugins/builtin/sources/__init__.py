"""The built-in sources. They are loaded by entry point, as all plugins are."""
