"""`python -m pilotfish_verify LOG`: the config that fits a log of labelled sentences, as JSON, which YAML contains."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pilotfish.base.errors import ConfigError
from pilotfish_verify.calibration import calibrate, read_log


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the config, and how well each signal separates the labels. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pilotfish_verify", description=__doc__)
    parser.add_argument("log", type=Path, help="JSONL with label (0, 1), and signals or context and sentence")
    parser.add_argument("--false-alarms", type=float, default=0.05, help="the share of supported sentences to reject")
    options = parser.parse_args(arguments)
    if not 0 <= options.false_alarms <= 1:
        parser.error("--false-alarms must be from 0 to 1")
    try:
        found = calibrate(read_log(options.log), options.false_alarms)
    except (ConfigError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    aucs = {name: round(value, 3) for name, value in {**found.signal_aucs, "all, held out": found.auc}.items()}
    sys.stderr.write(f"AUC: {json.dumps(aucs)}\nunsupported sentences that pass: {found.missed:.1%}\n")
    config = {"thresholdPermille": found.threshold_permille, "weights": found.weights.to_manifest()}
    sys.stdout.write(json.dumps(config, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
