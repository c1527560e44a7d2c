"""AdaptationPlugin: one way in which models are adapted to a domain."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pilotfish.api.common import (
    ConfigMapRef,
    EntryPointName,
    Label,
    Model,
    Opaque,
    RolePoolRef,
    SecretKeyRef,
    Uri,
    exactly_one_of,
    list_map,
)
from pilotfish.api.resource import AGE_COLUMN, MESSAGE_COLUMN, READY_COLUMNS, Column, Definition, Resource
from pilotfish.api.status import AdaptationPluginStatus


class FailurePolicy(StrEnum):
    """What happens to a request when the plugin fails."""

    IGNORE = "Ignore"
    FAIL = "Fail"


class DocumentSource(Model):
    """Documents that a plugin reads: the keys of a ConfigMap, or the files at an address."""

    rules: ClassVar = (exactly_one_of("configMapRef", "uri"),)
    name: Label
    """The name of the source, unique in the plugin."""
    config_map_ref: ConfigMapRef | None = None
    """The ConfigMap whose keys are the documents. Exactly one of configMapRef, uri must be set."""
    uri: Uri | None = None
    """The address of the documents, scheme://path. `pilotfish plugins` lists the schemes. Exactly one of configMapRef,
    uri must be set.
    """
    credentials_secret_ref: SecretKeyRef | None = None
    """The Secret key that holds the credential for `uri`."""


class AdaptationPluginSpec(Model):
    """The desired plugin: an installed plugin, its settings, and the pools and documents that it works with."""

    type: EntryPointName
    """The name of an installed plugin. `pilotfish plugins` lists them."""
    config: Opaque = {}
    """The settings of the plugin. The plugin defines and checks them."""
    pool_refs: Annotated[tuple[RolePoolRef, ...], *list_map("role", maximum=8)] = ()
    """The pools that the plugin may call, by role, at most 8. The plugin defines the roles."""
    sources: Annotated[tuple[DocumentSource, ...], *list_map("name", maximum=32)] = ()
    """The documents that the plugin reads, at most 32. Each source has exactly one of configMapRef, uri."""
    refresh_seconds: Annotated[int, Field(strict=True, ge=60, le=31_536_000)] | None = None
    """How often documents at addresses are read again, in seconds. If absent, they are read again when the manifest, a
    ConfigMap or a model changes.
    """
    timeout_seconds: Annotated[int, Field(strict=True, ge=1, le=600)] = 5
    """The maximum time of one call to the plugin, and of all calls while it holds back the same text, in seconds."""
    failure_policy: FailurePolicy = FailurePolicy.IGNORE
    """What happens to a request when the plugin fails or exceeds timeoutSeconds.
    - Ignore: the request is answered without the plugin. A plugin that protects, such as redact, needs Fail.
    - Fail: the request fails.
    """


class AdaptationPlugin(Resource):
    """An AdaptationPlugin adapts the answers of models to a domain. ModelRouters refer to it by name."""

    definition: ClassVar = Definition(
        "adaptationplugins",
        "ap",
        (
            *READY_COLUMNS,
            Column("Type", ".spec.type"),
            Column("Documents", ".status.prepared.documents", "integer"),
            Column("Routers", ".status.routers", "integer"),
            AGE_COLUMN,
            MESSAGE_COLUMN,
        ),
    )
    kind: Literal["AdaptationPlugin"]
    spec: AdaptationPluginSpec
    status: AdaptationPluginStatus | None = None
