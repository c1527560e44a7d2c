"""Weights and a threshold from labelled sentences, and the command that prints them."""

import json
import random

import numpy as np
import pytest

from pilotfish.base.errors import ConfigError
from pilotfish_verify import Config
from pilotfish_verify.__main__ import main
from pilotfish_verify.calibration import Labelled, calibrate, read_log
from pilotfish_verify.judging import probability_of

rng = random.Random(3)


def rows(count: int = 400) -> list[Labelled]:
    """`words` says little of the label, `yes` says much, `pairs` says nothing."""
    made = []
    for _ in range(count):
        supported = rng.random() < 0.5
        signals = {
            "words": min(1.0, max(0.0, rng.gauss(0.5 + 0.1 * supported, 0.2))),
            "pairs": rng.random(),
            "numbers": 1.0,
            "yes": rng.gauss(0.2 if supported else -0.2, 0.2),
        }
        made.append(Labelled(signals, supported))
    return made


def test_the_combination_separates_better_than_each_signal_on_rows_that_it_has_not_seen():
    found = calibrate(rows())
    assert found.auc > max(found.signal_aucs.values())
    fresh = rows(2000)
    probabilities = np.array([probability_of(row.signals, found.weights) for row in fresh])
    supported = np.array([row.supported for row in fresh])
    rejected = probabilities < found.threshold_permille / 1000
    assert rejected[supported].mean() == pytest.approx(0.05, abs=0.03)
    assert 1 - rejected[~supported].mean() == pytest.approx(found.missed, abs=0.08)
    # Calibrated: of the sentences with a probability near p, about the share p is supported.
    for low in (0.2, 0.4, 0.6):
        near = (probabilities >= low) & (probabilities < low + 0.2)
        assert supported[near].mean() == pytest.approx(probabilities[near].mean(), abs=0.1)


def test_a_pool_that_the_log_has_no_signal_of_is_not_asked():
    found = calibrate([Labelled({"words": row.signals["words"]}, row.supported) for row in rows()])
    assert (found.weights.yes, found.weights.score, found.weights.pairs) == (0, 0, 0)
    assert found.weights.words > 0


def test_the_command_reads_notes_and_plain_rows_and_prints_a_config(tmp_path, capsys):
    log = tmp_path / "log.jsonl"
    lines = [
        {"label": label, "context": "Ann keeps bees in the garden.", "sentence": sentence}
        for label, sentence in ((1, "Ann keeps bees in her garden."), (0, "Ann sold hats near the harbour."))
    ]
    notes = [
        {"label": label, "sentence": "x", "signals": {"words": words, "pairs": words, "numbers": 1}}
        for label, words in ((1, 0.9), (0, 0.2))
    ]
    log.write_text("\n".join(map(json.dumps, (lines + notes) * 20)))
    assert main([str(log), "--false-alarms", "0.1"]) == 0
    printed = capsys.readouterr()
    config = Config.model_validate(json.loads(printed.out))
    assert config.weights.words > 0
    assert '"all, held out": 1.0' in printed.err
    assert main([str(tmp_path / "none.jsonl")]) == 1
    assert "none.jsonl" in capsys.readouterr().err


WRONG_LINES = (
    '{"label": 2, "signals": {}}',
    '{"label": 1}',
    '{"label": 1, "signals": {"word": 1}}',
    '{"label": 1, "signals": {"words": "NaN"}}',
    '{"label": 1, "context": " ", "sentence": "A."}',
    "[",
)


@pytest.mark.parametrize("line", WRONG_LINES)
def test_a_wrong_line_is_named(tmp_path, line):
    log = tmp_path / "log.jsonl"
    log.write_text('{"label": 1, "signals": {"words": 1}}\n' + line)
    with pytest.raises(ConfigError) as error:
        read_log(log)
    assert error.value.field.endswith("log.jsonl:2")


@pytest.mark.parametrize(
    "log", [[], rows(20), [Labelled({"words": 1.0}, True)] * 50, [*rows(60), Labelled({"words": 1.0}, True)]]
)
def test_a_log_that_cannot_be_learned_from_is_refused(log):
    with pytest.raises(ConfigError) as error:
        calibrate(log)
    assert error.value.field == "log"
