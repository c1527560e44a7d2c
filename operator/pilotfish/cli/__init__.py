"""The command line, and the only place where concrete objects are wired together. One module a command."""
