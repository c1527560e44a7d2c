"""A temperature and biases of tokens, learned from a log and applied inside the engine: `CalibrateLogits`."""

from pilotfish_calibrate_logits.plugin import CalibrateLogits

__all__ = ["CalibrateLogits"]
