"""The built-in scorers. They are loaded by entry point, as all plugins are."""
