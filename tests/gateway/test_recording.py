"""The log that the gateway writes: what was decided, and with which odds."""

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path

from pilotfish.calibrate.log import read_log

from .conftest import UNSURE, House, cascade


async def test_a_row_for_every_answer_with_its_odds(house: House, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    house.settings = replace(house.settings, record_file=log)
    await house.serve([cascade(extra=", exploration: {permille: 100}")])
    answered = Counter([(await house.ask(stream=bool(turn % 2))).headers["x-pilotfish-stages"] for turn in range(150)])
    house.say(small=UNSURE)
    await house.serve([cascade(extra=", exploration: {permille: 100}")])
    await house.ask()
    assert house.gateway
    await house.gateway.stop()
    house.gateway = None
    *explored, rejected = await asyncio.to_thread(read_log, log)
    assert Counter((row.action, row.propensity) for row in explored) == {
        ("small", 0.9): answered["small"],
        ("large", 0.1): answered["small,large"],
    }
    assert answered["small,large"]
    assert (rejected.action, rejected.propensity) == ("large", 1.0)
    assert rejected.stages[0].scores == {"logprob": 82}
    assert rejected.messages == ({"role": "user", "content": "hi"},)
    assert rejected.stages[1].output_tokens == 3
