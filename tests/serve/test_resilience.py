"""Starts on machines and Rays that misbehave: what passes is tried again until the pool answers."""

import asyncio

from pilotfish.testing.stand_in_engine import Script, StandInEngine
from tests.serve.up import Up, ask

EXTERNAL = """\
apiVersion: pilotfish.dev/v1alpha1
kind: ModelPool
metadata: {{name: small}}
spec:
  tier: Small
  external: {{baseURL: "{url}", model: small}}
"""


async def test_external_pools_start_no_ray_and_answer_at_once(tmp_path):
    engine = StandInEngine({"small": Script([("x", -0.1)])})
    (tmp_path / "pool.yaml").write_text(EXTERNAL.format(url=await engine.start()))
    run = await asyncio.to_thread(Up, tmp_path)
    try:
        await asyncio.to_thread(run.wait_for, "gateway at")
        status, _, _ = await asyncio.to_thread(ask, run.url, "small", "Hello", max_tokens=1)
        assert status == 200
        assert not run.processes()
    finally:
        await asyncio.to_thread(run.end)
        await engine.stop()
