"""The built-in scorers. They are loaded by entry point like anybody's."""
