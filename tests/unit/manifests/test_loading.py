"""Every fault of every file is reported with the line of the field."""

from pathlib import Path
from textwrap import dedent

import pytest

from pilotfish.base.keys import Key
from pilotfish.manifests import Loaded, load, load_apart
from pilotfish.plugins.registry import Registry

POOL = """\
apiVersion: pilotfish.dev/v1alpha1
kind: ModelPool
metadata: {name: small}
spec:
  tier: Small
  model: {uri: "file:///weights"}
  replicas: 1
"""
ROUTER = """\
apiVersion: pilotfish.dev/v1alpha1
kind: ModelRouter
metadata:
  name: assistant
spec:
  strategy:
    type: Direct
    direct:
      poolRef: {name: small}
"""


def load_text(folder: Path, **files: str) -> Loaded:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(dedent(text))
    return load([folder], registry=Registry([]))


def told(folder: Path, text: str) -> list[str]:
    loaded = load_text(folder, faulty=text)
    assert not loaded.resources
    return [str(problem).removeprefix(f"{folder}/") for problem in loaded.problems]


def test_documents_of_files_and_folders_are_read_once_and_hidden_ones_left_out(tmp_path: Path) -> None:
    (tmp_path / "deep" / ".hidden").mkdir(parents=True)
    (tmp_path / "all.yaml").write_text(f"---\n{POOL}---\n# nothing but a comment\n---\n{ROUTER}")
    (tmp_path / "deep" / "large.yml").write_text(POOL.replace("small", "large"))
    (tmp_path / "deep" / ".hidden" / "x.yaml").write_text("not: read")
    (tmp_path / "notes.txt").write_text("not read")
    loaded = load([tmp_path, tmp_path / "all.yaml"], registry=Registry([]))
    assert [resource.name for resource in loaded.resources] == ["small", "assistant", "large"]
    assert (loaded.files, loaded.problems) == (2, ())


def test_an_empty_folder_is_a_fault_alone_and_a_warning_beside_manifests(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "pool.yaml").write_text(POOL)
    said = [f"{tmp_path / 'empty'}: this folder has no *.yaml or *.yml file: add a manifest, or name another folder"]
    alone = load([tmp_path / "empty"], registry=Registry([]))
    assert ([str(each) for each in alone.problems], alone.warnings) == (said, ())
    beside = load([tmp_path / "pool.yaml", tmp_path / "empty"], registry=Registry([]))
    assert said[0] in [str(each) for each in beside.warnings]
    assert beside.problems == ()
    assert [resource.name for resource in beside.resources] == ["small"]
    _, apart = load_apart([tmp_path / "pool.yaml", tmp_path / "empty"], registry=Registry([]))
    assert ([str(each) for each in apart.warnings], apart.problems) == (said, ())
    (apart,) = load_apart([tmp_path / "empty"], registry=Registry([]))
    assert ([str(each) for each in apart.problems], apart.warnings) == (said, ())


def test_paths_read_apart_may_have_one_name_twice_and_refer_to_one_another(tmp_path: Path) -> None:
    for name, text in (("before", ROUTER), ("after", ROUTER), ("pools", POOL)):
        (tmp_path / f"{name}.yaml").write_text(text)
    paths = [tmp_path / f"{name}.yaml" for name in ("before", "after", "pools")]
    assert load(paths, registry=Registry([])).problems
    apart = load_apart(paths, registry=Registry([]))
    assert [[resource.name for resource in loaded.resources] for loaded in apart] == [["assistant"]] * 2 + [["small"]]
    assert not any(loaded.problems for loaded in apart)
    assert not any("ModelPool 'small'" in str(warning) for loaded in apart for warning in loaded.warnings)


def test_a_fault_has_the_line_of_its_field(tmp_path: Path) -> None:
    text = ROUTER.replace("type: Direct", "typ: Direct")
    assert told(tmp_path, text) == [
        "faulty.yaml:6: spec.strategy.type: is required",
        "faulty.yaml:7: spec.strategy.typ: unknown field: remove it, or correct its name",
    ]


def test_a_missing_field_has_the_line_of_what_is_around_it(tmp_path: Path) -> None:
    text = ROUTER.replace("poolRef: {name: small}", "{}")
    assert told(tmp_path, text) == ["faulty.yaml:8: spec.strategy.direct.poolRef: is required"]


def test_every_fault_of_a_document_is_told(tmp_path: Path) -> None:
    text = POOL.replace("Small", "Medium").replace("replicas: 1", 'replicas: "1"').replace("file:///weights", "weights")
    lines = told(tmp_path, text)
    assert [line.split(": ")[1] for line in lines] == ["spec.tier", "spec.model.uri", "spec.replicas"]
    assert [line.split(":")[1] for line in lines] == ["5", "6", "7"]


def test_python_names_of_fields_are_unknown(tmp_path: Path) -> None:
    text = POOL.replace("replicas: 1", "replicas: 1\n  autoscaling_policy_ref: {name: x}")
    assert told(tmp_path, text) == [
        "faulty.yaml:8: spec.autoscaling_policy_ref: unknown field: remove it, or correct its name"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1, 2\nb: 3\n", "faulty.yaml:2: not YAML"),
        ("a: \x00\n", "faulty.yaml:1: not YAML"),
        ("a: 1\n\tb: 2\n", "faulty.yaml:2: not YAML"),
        ("", "faulty.yaml: the file is empty"),
        ("# only words\n---\n", "faulty.yaml: the file is empty"),
        ("- a\n- b\n", "faulty.yaml:1: must be a mapping"),
        ("a: &x\n  b: *x\n", "faulty.yaml:1: a.b: an alias refers to itself: remove it"),
        ("a: {b: 1,\n  b: 2}\n", "faulty.yaml:2: a.b: occurs twice, first in line 1"),
        ("a: !!binary aGk=\n", "faulty.yaml:1: a: the YAML tag tag:yaml.org,2002:binary is not allowed in a manifest"),
        ("[1]: 2\n", "faulty.yaml:1: document: a field's name must be a string: put it in quotes"),
        (POOL.replace("ModelPool", "Pod"), "faulty.yaml:2: kind: must be one of"),
        (POOL.replace("v1alpha1", "v9"), "faulty.yaml:1: apiVersion: must be pilotfish.dev/v1alpha1"),
    ],
)
def test_what_is_no_manifest_is_refused_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    (line,) = told(tmp_path, text)
    assert line.startswith(expected)


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xe9\n")
    (problem,) = load([tmp_path], registry=Registry([])).problems
    assert (problem.line, problem.text) == (2, "not YAML: the file must be UTF-8")


def test_good_documents_before_broken_yaml_are_kept(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, mixed=f"{POOL}---\na: [\n")
    assert [resource.name for resource in loaded.resources] == ["small"]
    assert len(loaded.problems) == 1


def test_a_second_object_of_one_name_is_refused_and_names_the_first(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, a=POOL, b=POOL)
    (problem,) = loaded.problems
    first = tmp_path / "a.yaml"
    assert str(problem) == (
        f"{tmp_path / 'b.yaml'}:3: metadata.name: a ModelPool 'small' is already in {first}:3: rename or remove one"
    )
    other_namespace = POOL.replace("{name: small}", "{name: small, namespace: other}")
    assert not load_text(tmp_path, b=other_namespace).problems


def test_dates_stay_text(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, a=POOL.replace("{name: small}", "{name: small, labels: {since: 2026-01-31}}"))
    assert loaded.resources[0].metadata.labels == {"since": "2026-01-31"}


def test_secrets_and_config_maps_are_kept_but_never_shown(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path,
        a="""\
        apiVersion: v1
        kind: Secret
        metadata: {name: hf-token}
        data: {token: aHVudGVyMg==}
        stringData: {other: plain}
        ---
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: facts, namespace: team}
        data: {facts.txt: water is wet}
        """,
    )
    assert not loaded.problems
    assert loaded.secrets[Key("Secret", "default", "hf-token")].data == {"token": b"hunter2", "other": b"plain"}
    assert loaded.config_maps[Key("ConfigMap", "team", "facts")].data == {"facts.txt": b"water is wet"}
    assert "hunter2" not in repr(loaded)


def test_a_secret_that_is_no_base64_is_refused_without_its_text(tmp_path: Path) -> None:
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\ndata:\n  token: 'hunter two'\n"
    assert told(tmp_path, text) == ["faulty.yaml:5: data.token: must be base64; put plain strings in stringData"]


def test_what_this_installation_lacks_is_a_warning(tmp_path: Path) -> None:
    router = ROUTER.replace("small", "missing")
    pool = POOL + "  engine:\n    args:\n      max-model-len: 9\n      enforce_eager: true\n"
    loaded = load_text(tmp_path, a=pool, b=router)
    assert not loaded.problems
    assert [str(warning).removeprefix(f"{tmp_path}/") for warning in loaded.warnings] == [
        "a.yaml:6: spec.model.uri: no source file:// is installed: install the package that has it",
        "a.yaml:10: spec.engine.args.max-model-len:"
        " must not be set here: remove it, and set spec.engine.maxModelLength instead",
        "b.yaml:9: spec.strategy.direct.poolRef.name: there is no ModelPool 'missing' in these files:"
        " add its manifest, or correct the name",
    ]


def test_a_stage_that_cannot_exit_early_is_a_warning(tmp_path: Path) -> None:
    text = """
        apiVersion: pilotfish.dev/v1alpha1
        kind: ModelRouter
        metadata: {name: assistant}
        spec:
          strategy:
            type: Cascade
            cascade:
              stages:
                - poolRef: {name: small}
                  accept:
                    scorer: {name: FIRST}
                    thresholdPermille: 500
                - poolRef: {name: small}
                  accept:
                    scorer: {name: agreement}
                    thresholdPermille: 500
                    decideWithinTokens: 32
                - poolRef: {name: small}
        """
    said = {}
    for first in ("logprob", "self-check"):
        (tmp_path / "pool.yaml").write_text(POOL)
        (tmp_path / "router.yaml").write_text(dedent(text).replace("FIRST", first))
        loaded = load([tmp_path])
        assert not loaded.problems
        said[first] = [str(warning).removeprefix(f"{tmp_path}/") for warning in loaded.warnings]
    ignored = (
        "router.yaml:18: spec.strategy.cascade.stages[1].accept.decideWithinTokens:"
        " scorer 'agreement' judges whole answers, so decideWithinTokens has no effect: remove it"
    )
    assert said["logprob"] == [ignored]
    assert [line.split(": ")[1] for line in said["self-check"]] == [
        "spec.strategy.cascade.streaming",
        "spec.strategy.cascade.stages[1].accept.decideWithinTokens",
    ]
