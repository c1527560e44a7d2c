"""`pilotfish record` against a gateway: what it asks, what it writes, and that it goes on where it stopped."""

import asyncio
from pathlib import Path

import orjson
from typer.testing import CliRunner

from pilotfish.calibrate.log import read_log
from pilotfish.cli.main import application
from pilotfish.testing.stand_in_engine import Script

from .conftest import House

ROUTERS = Path(__file__).parents[2] / "examples" / "calibrate" / "routers.yaml"


async def record(house: House, *options: str):
    command = ["record", *options, "--url", house.url, "--max-tokens", "16"]
    return await asyncio.to_thread(CliRunner().invoke, application(("record",)), command)


async def test_one_recording_serves_every_scorer_and_goes_on_where_it_stopped(house: House, tmp_path: Path) -> None:
    house.say(small=Script([("Yes", -0.2)]), large=Script([("Canberra", -0.1)]))
    await house.serve([])
    prompts, log = tmp_path / "prompts.jsonl", tmp_path / "log.jsonl"
    check = {"type": "text", "any": ["Canberra"]}
    rows = [{"id": f"q{place}", "prompt": f"Question {place}?", "check": check} for place in range(9)]
    prompts.write_bytes(b"\n".join(map(orjson.dumps, rows)))

    first = await record(house, str(prompts), str(ROUTERS), "--out", str(log), "--limit", "4")
    assert first.exit_code == 0, first.output
    sampled = [entry.id for entry in await asyncio.to_thread(read_log, log)]
    assert len(sampled) == 4
    log.write_bytes(log.read_bytes()[:-20])
    asked = len(house.engine.bodies)

    again = await record(house, str(prompts), str(ROUTERS), "--out", str(log), "--limit", "4")
    assert again.exit_code == 0, again.output
    entries = await asyncio.to_thread(read_log, log)
    assert sorted(entry.id for entry in entries) == sorted(sampled)
    assert len(house.engine.bodies) - asked == asked // 4

    whole = await record(house, str(prompts), str(ROUTERS), "--out", str(log))
    assert whole.exit_code == 0, whole.output
    entries = await asyncio.to_thread(read_log, log)
    assert sorted(entry.id for entry in entries) == [f"q{place}" for place in range(9)]
    for entry in entries:
        small, large = entry.stages
        assert small.scores == {"logprob": 819, "self-check": 1000, "agreement": 1000}
        assert (small.quality, large.quality) == (0.0, 1.0)
        assert small.logprobs == (-0.2,)
    assert all(body["max_tokens"] <= 16 for body in house.engine.bodies)
