"""Steers a large model with small models of its family, inside the engine: `ProxyTuning`."""

from pilotfish_proxy_tuning.plugin import ProxyTuning

__all__ = ["ProxyTuning"]
