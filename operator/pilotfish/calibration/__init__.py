"""Calibration: reads and writes logs, trains scorers, draws reports, rewrites manifests. `statistics` is pure."""
