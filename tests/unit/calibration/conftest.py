import math

import numpy as np
import pytest

from pilotfish.calibration.log import RecordedRequest, RecordedStage
from pilotfish.manifests import load

ROUTERS = """
apiVersion: pilotfish.dev/v1alpha1
kind: ModelRouter
metadata: {name: assistant}
spec:
  strategy:
    type: Cascade
    cascade:
      streaming: EarlyExit
      stages:
        - poolRef: {name: small}
          accept:
            scorer: {name: logprob, config: {statistic: mean, scale: probability}}
            thresholdPermille: 700
            decideWithinTokens: 48
        - poolRef: {name: large}
---
apiVersion: pilotfish.dev/v1alpha1
kind: ModelRouter
metadata: {name: combination}
spec:
  strategy:
    type: Cascade
    cascade:
      streaming: Hold
      stages:
        - poolRef: {name: small}
          accept: {scorer: {name: logprob, config: {statistic: combination}}, thresholdPermille: 700}
        - poolRef: {name: large}
---
apiVersion: pilotfish.dev/v1alpha1
kind: ModelRouter
metadata: {name: checked}
spec:
  strategy:
    type: Cascade
    cascade:
      streaming: Hold
      stages:
        - poolRef: {name: small}
          accept: {scorer: {name: self-check}, thresholdPermille: 500}
        - poolRef: {name: large}
  exploration: {permille: 50}
---
apiVersion: pilotfish.dev/v1alpha1
kind: ModelRouter
metadata: {name: picker}
spec:
  strategy:
    type: Predictive
    predictive:
      scorer: {name: linear}
      candidates:
        - {poolRef: {name: small}, thresholdPermille: 500}
        - poolRef: {name: large}
---
apiVersion: pilotfish.dev/v1alpha1
kind: ModelRouter
metadata: {name: plain}
spec: {strategy: {type: Direct, direct: {poolRef: {name: large}}}}
---
apiVersion: pilotfish.dev/v1alpha1
kind: ModelRouter
metadata: {name: canary}
spec:
  strategy:
    type: Weighted
    weighted:
      pools: [{poolRef: {name: small}, weight: 1}, {poolRef: {name: large}, weight: 3}]
"""


def make_log(count, seed=0):
    """Requests whose small answer is right where its tokens are likely and the prompt is easy; the self-check is
    noise.
    """
    random = np.random.default_rng(seed)
    entries = []
    for number in range(count):
        easy = random.random() < 0.6
        right = random.random() < (0.95 if easy else 0.25)
        level = random.normal(-0.15 if right else -0.9, 0.12)
        length = int(random.integers(20, 80))
        likely = np.minimum(-0.001, random.normal(level, 0.3, length))
        tops = tuple((float(value), math.log(max(1e-9, 1 - math.exp(value)))) for value in likely)
        small = RecordedStage(
            pool="small",
            answer="a",
            logprobs=tuple(float(value) for value in likely),
            top_logprobs=tops,
            scores={"self-check": int(random.integers(0, 6)) * 200},
            quality=float(right),
            cost=0.001,
            seconds=0.5,
        )
        large = RecordedStage(pool="large", answer="b", quality=float(random.random() < 0.95), cost=0.02, seconds=3.0)
        words = "add two small numbers" if easy else "prove the deep theorem"
        prompt = f"Please {words} number {number}"
        entries.append(RecordedRequest(id=str(number), prompt=prompt, stages=(small, large)))
    return entries


@pytest.fixture(scope="session")
def log():
    return make_log(1000)


@pytest.fixture(scope="session")
def manifests(tmp_path_factory):
    path = tmp_path_factory.mktemp("manifests") / "routers.yaml"
    path.write_text(ROUTERS)
    return path


@pytest.fixture(scope="session")
def routers(manifests):
    loaded = load([manifests])
    assert not loaded.problems
    return {resource.name: resource for resource in loaded.resources}
