"""Calibration around the pure core: logs read and written, scorers trained, reports drawn, manifests rewritten."""
