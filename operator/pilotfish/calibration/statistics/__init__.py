"""Statistics of calibration: from recorded outcomes to thresholds with a promise. Arrays in, values out; no files."""
