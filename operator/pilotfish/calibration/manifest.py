"""The calibrated router as manifests: with thresholds, and with artifacts in a ConfigMap, or in a file if they are too
large.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pilotfish.calibration.calibrate import Calibrated
from pilotfish.calibration.statistics.choose import Choice, Recommendation
from pilotfish.plugin_api.artifacts import read_artifact
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish.plugins.builtin.scorers import logprob
from pilotfish.plugins.chain_digests import CALIBRATED_ANNOTATION, NONE
from pilotfish.routing.threshold_control import NEVER

LARGEST_IN_CONFIG_MAP = 700_000
"""Bytes before base64; a ConfigMap holds 1 MiB in all."""


@dataclass(frozen=True)
class Written:
    """Manifest documents, and files by name that belong beside them."""

    documents: tuple[dict[str, Any], ...]
    files: Mapping[str, bytes]


def rewrite(calibrated: Calibrated, folder: Path) -> Written:
    """The router's manifest after calibration, and the ConfigMaps and files that it names. `folder`: where they will
    be.
    """
    router = calibrated.router
    document = router.to_manifest()
    if calibrated.choice.recommendation is not Recommendation.ROUTE:
        document["spec"]["strategy"] = _unscored(calibrated.choice, router.strategy_pools)
        # Exploration belongs to thresholds: without them the manifest would be refused for it.
        document["spec"].pop("exploration", None)
        return Written((document,), {})
    if router.spec.plugins or calibrated.plugins:
        annotations = document["metadata"].setdefault("annotations", {})
        annotations[CALIBRATED_ANNOTATION] = calibrated.plugins or NONE
    thresholds = calibrated.choice.thresholds
    _set_thresholds(document["spec"]["strategy"], thresholds)
    documents: list[dict[str, Any]] = [document]
    files: dict[str, bytes] = {}
    for place, (role, scorer) in _scorers(document["spec"]["strategy"], thresholds).items():
        _name_scale(scorer, calibrated.artifacts.get(place))
        if place not in calibrated.changed:
            continue
        artifact = calibrated.artifacts[place]
        name = f"{router.name}-{role}"
        if len(artifact) <= LARGEST_IN_CONFIG_MAP:
            scorer["artifact"] = {"configMapRef": {"name": name, "key": "scorer.npz"}}
            documents.append(_config_map(name, router.metadata.namespace, artifact))
        else:
            scorer["artifact"] = {
                "uri": f"file://{(folder / f'{name}.npz').resolve()}",
                "sha256": hashlib.sha256(artifact).hexdigest(),
            }
            files[f"{name}.npz"] = artifact
    _drop_idle(document["spec"]["strategy"])
    return Written(tuple(documents), files)


def to_yaml(written: Written) -> str:
    """The documents as one YAML text."""
    return yaml.safe_dump_all(written.documents, sort_keys=False, allow_unicode=True, width=120)


def _name_scale(scorer: dict[str, Any], artifact: bytes | None) -> None:
    """Write the scale next to the threshold, because a threshold is only valid on its scale."""
    if scorer["name"] != logprob.KIND:
        return
    settings = Settings(scorer.get("config", {}), artifact)
    config = read_config(logprob.Config, settings)
    if config.statistic is logprob.Statistic.COMBINATION:
        return
    arrays = None if artifact is None else read_artifact(settings, logprob.KIND)
    scorer["config"] = {**settings.config, "scale": logprob.scale_of(config, arrays).value}


def _set_thresholds(strategy: dict[str, Any], thresholds: tuple[int, ...]) -> None:
    if "cascade" in strategy:
        for stage, threshold in zip(strategy["cascade"]["stages"], thresholds, strict=False):
            stage["accept"]["thresholdPermille"] = threshold
    else:
        for candidate, threshold in zip(strategy["predictive"]["candidates"], thresholds, strict=False):
            candidate["thresholdPermille"] = threshold


def _drop_idle(strategy: dict[str, Any]) -> None:
    """Remove the pools that never accept: their answers would never be used, and a manifest cannot express NEVER."""
    if "cascade" in strategy:
        stages = strategy["cascade"]["stages"]
        kept = [stage for stage in stages if stage.get("accept", {}).get("thresholdPermille") != NEVER]
        strategy["cascade"]["stages"] = kept
    else:
        candidates = strategy["predictive"]["candidates"]
        kept = [candidate for candidate in candidates if candidate.get("thresholdPermille") != NEVER]
        strategy["predictive"]["candidates"] = kept


def _unscored(choice: Choice, pools: Sequence[str]) -> dict[str, Any]:
    """The strategy of a router without a scorer."""
    small, large = ({"poolRef": {"name": pool}} for pool in (pools[0], pools[-1]))
    if choice.large_permille is None:
        return {"type": "Direct", "direct": small if choice.recommendation is Recommendation.SMALL_ALONE else large}
    weights = [{**small, "weight": 1000 - choice.large_permille}, {**large, "weight": choice.large_permille}]
    return {"type": "Weighted", "weighted": {"pools": weights}}


def _scorers(strategy: dict[str, Any], thresholds: tuple[int, ...]) -> dict[int, tuple[str, dict[str, Any]]]:
    """Scorers that are asked, by their place among the router's, each with a name for its artifact: of the pool in a
    cascade, as places shift where a stage is left out.
    """
    if "predictive" in strategy:
        return {0: ("scorer", strategy["predictive"]["scorer"])}
    stages = enumerate(zip(strategy["cascade"]["stages"], thresholds, strict=False))
    return {
        place: (f"scorer-{stage['poolRef']['name']}", stage["accept"]["scorer"])
        for place, (stage, threshold) in stages
        if threshold < NEVER
    }


def _config_map(name: str, namespace: str | None, artifact: bytes) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
        "binaryData": {"scorer.npz": base64.b64encode(artifact).decode()},
    }
