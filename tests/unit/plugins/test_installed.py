"""A config that an adaptation refuses is reported at the field of the AdaptationPlugin."""

import sys
from importlib.metadata import EntryPoint

import pytest

from pilotfish.api import AdaptationPlugin
from pilotfish.api.common import Model
from pilotfish.plugin_api.settings import read_config
from pilotfish.plugins.extension_points import ADAPTATIONS
from pilotfish.plugins.installed import InstalledPlugins
from pilotfish.plugins.registry import Installed, Registry
from pilotfish.reconcile.spec_checks import check_plugin


class Config(Model):
    system: str


class Units:
    @classmethod
    def from_settings(cls, settings):
        read_config(Config, settings)
        return cls()

    async def on_request(self, *, conversation, models): ...


class NoHook:
    @classmethod
    def from_settings(cls, settings): ...


@pytest.fixture
def installed(monkeypatch):
    module = type(sys)("acme_units")
    module.Units, module.NoHook = Units, NoHook
    monkeypatch.setitem(sys.modules, "acme_units", module)
    points = {"units": "acme_units:Units", "no-hook": "acme_units:NoHook"}
    group = ADAPTATIONS.group
    entries = [Installed(group, name, "acme", "1", EntryPoint(name, value, group)) for name, value in points.items()]
    return InstalledPlugins(Registry(entries))


@pytest.mark.parametrize(
    ("kind", "config", "path", "reason", "message"),
    [
        ("units", {"system": 7}, ("spec", "config", "system"), "InvalidPluginConfig", "must be a string; got 7"),
        ("units", {}, ("spec", "config", "system"), "InvalidPluginConfig", "required"),
        ("no-hook", {}, ("spec", "type"), "UnknownPlugin", "method `on_request` is missing"),
        ("absent", {}, ("spec", "type"), "UnknownPlugin", "no-hook, units"),
    ],
)
def test_a_fault_of_an_adaptation_names_its_field(installed, kind, config, path, reason, message):
    plugin = manifest(kind, config)
    (fault,) = check_plugin(plugin, installed)
    assert (fault.path, fault.reason) == (path, reason)
    assert message in fault.message
    assert not list(check_plugin(manifest("units", {"system": "SI"}), installed))


def manifest(kind, config):
    return AdaptationPlugin.model_validate(
        {
            "apiVersion": "pilotfish.dev/v1alpha1",
            "kind": "AdaptationPlugin",
            "metadata": {"name": "house"},
            "spec": {"type": kind, "config": config},
        }
    )
