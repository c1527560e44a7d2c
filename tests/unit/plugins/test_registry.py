"""What is installed is listed without importing, and refused with the owner's name when it does not fit."""

import sys
from importlib.metadata import EntryPoint

import pytest

from pilotfish.base.errors import PluginError
from pilotfish.plugins.builtin.sources.local import FileSource
from pilotfish.plugins.registry import SCORERS, SOURCES, Installed, Registry


def installed(name: str, value: str, *, group: str = SOURCES, distribution: str = "acme") -> Installed:
    return Installed(group, name, distribution, "1.2", EntryPoint(name, value, group))


def test_what_comes_with_pilotfish_is_found_and_fits() -> None:
    registry = Registry.installed()
    assert {"file", "gs", "hf", "package", "pvc", "s3"} <= set(registry.names(SOURCES))
    assert isinstance(registry.source("file"), FileSource)
    for scheme in registry.names(SOURCES):
        registry.source(scheme)
    for name in registry.names(SCORERS):
        registry.scorer(name)


def test_listing_imports_nothing() -> None:
    registry = Registry([installed("broken", "no_such_module:Thing"), installed("lazy", "wave:open")])
    sys.modules.pop("wave", None)
    assert registry.names(SOURCES) == ["broken", "lazy"]
    assert [entry.name for entry in registry.entries()] == ["broken", "lazy"]
    assert "wave" not in sys.modules


def test_a_name_that_is_not_there_names_those_that_are() -> None:
    registry = Registry([installed("file", "pilotfish.plugins.builtin.sources.local:FileSource")])
    with pytest.raises(PluginError, match="'ftp': install one, or name one of: file"):
        registry.source("ftp")


def test_two_distributions_of_one_name_are_refused_when_it_is_used() -> None:
    value = "pilotfish.plugins.builtin.sources.local:FileSource"
    registry = Registry(
        [installed("file", value), installed("file", value, distribution="other"), installed("b", value)]
    )
    with pytest.raises(PluginError, match=r"acme 1\.2 and other 1\.2: uninstall all but one"):
        registry.source("file")
    registry.source("b")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("no_such_module:Thing", "No module named 'no_such_module'"),
        ("wave:no_such_name", "has no attribute 'no_such_name'"),
        ("wave:Error", "lacks files, read, resolve"),
        ("pilotfish_future_source:Source", "written for plugin API 99, this is 1"),
    ],
)
def test_a_plugin_that_does_not_fit_is_refused_with_its_owner(
    value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    future = type(sys)("pilotfish_future_source")
    future.Source = type("Source", (FileSource,), {"plugin_api_version": 99})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pilotfish_future_source", future)
    registry = Registry([installed("x", value)])
    with pytest.raises(PluginError, match=told) as caught:
        registry.source("x")
    assert str(caught.value).startswith("pilotfish.sources 'x' of acme 1.2")


def test_a_scorer_that_has_none_of_the_shapes_is_told_all_of_them() -> None:
    registry = Registry([installed("none", "wave:Error", group=SCORERS)])
    with pytest.raises(
        PluginError, match="lacks from_settings, start or from_settings, judge or from_settings, predict"
    ):
        registry.scorer("none")
