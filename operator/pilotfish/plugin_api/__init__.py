"""What a plugin may import besides `pilotfish.api` and `pilotfish.base`: protocols and value types, no I/O.

Each module is one extension point, filled by an entry-point group of the same name (`pilotfish.sources`, …).
Calls pass keyword arguments and frozen values; growth means a new field with a default.
"""

PLUGIN_API_VERSION = 1
