"""Finding and loading plugins by entry point, and the built-in ones that do I/O."""
