"""The CRDs as a whole: what is committed is what the models say, and an API server's clients can take it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pilotfish.cli.crds import generated
from pilotfish.crdgen.crd import MAX_BYTES, definition, render, render_templates
from pilotfish.reconcile.kind import Kind
from pilotfish.reconcile.kinds import KINDS

ROOT = Path(__file__).parents[3]


def test_committed_files_are_what_the_models_say() -> None:
    stale = [str(path) for path, text in generated(ROOT).items() if not path.is_file() or path.read_text() != text]
    assert not stale, f"run `pilotfish crds`: {stale}"


def test_a_crd_fits_into_the_annotation_of_client_side_apply() -> None:
    assert all(len(text.encode()) < MAX_BYTES for text in render().values())


def test_what_occurs_twice_is_written_out() -> None:
    nodes = [event for text in render().values() for event in yaml.parse(text) if isinstance(event, yaml.NodeEvent)]
    assert not [node.anchor for node in nodes if node.anchor]


@pytest.mark.parametrize("kind", list(KINDS), ids=lambda kind: kind.name)
def test_every_column_and_scale_path_leads_to_a_field(kind: Kind[Any, Any]) -> None:
    version = definition(kind.model)["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    paths = [column["jsonPath"] for column in version["additionalPrinterColumns"]]
    paths += version["subresources"].get("scale", {}).values()
    for path in paths:
        at = schema
        for step in path.split("[")[0].strip(".").split("."):
            if step == "metadata":
                break
            assert step in at["properties"], path
            at = at["properties"][step]


def test_the_charts_copy_is_the_crd_behind_a_switch() -> None:
    for (name, template), text in zip(render_templates().items(), render().values(), strict=True):
        lines = [line for line in template.splitlines() if "{{" not in line]
        copied = yaml.safe_load("\n".join(lines))
        assert copied["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}, name
        assert copied == yaml.safe_load(text)
        assert template.count("{{- if") == template.count("{{- end")
