"""AdaptationPlugin: one way in which models are adapted to a domain."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pilotfish.api.common import (
    ConfigMapRef,
    EntryPointName,
    Label,
    Metadata,
    Model,
    Opaque,
    RolePoolRef,
    SecretKeyRef,
    Uri,
    exactly_one_of,
    list_map,
)
from pilotfish.api.status import AdaptationPluginStatus


class FailurePolicy(StrEnum):
    """Ignore: answer without the plugin; Fail: refuse the request."""

    IGNORE = "Ignore"
    FAIL = "Fail"


class DocumentSource(Model):
    """Documents that a plugin reads: a ConfigMap's keys, or what is at an address."""

    rules: ClassVar = (exactly_one_of("configMapRef", "uri"),)
    name: Label
    config_map_ref: ConfigMapRef | None = None
    uri: Uri | None = None
    credentials_secret_ref: SecretKeyRef | None = None


class AdaptationPluginSpec(Model):
    """What the plugin is and what it works with."""

    type: EntryPointName = Field(description="Name of an installed plugin, see `pilotfish plugins`.")
    config: Opaque = Field({}, description="For the plugin alone to understand: nothing else checks it.")
    pool_refs: Annotated[tuple[RolePoolRef, ...], *list_map("role", maximum=8)] = ()
    sources: Annotated[tuple[DocumentSource, ...], *list_map("name", maximum=32)] = Field(
        (), description="Documents; each has exactly one of configMapRef, uri."
    )
    timeout_seconds: Annotated[int, Field(strict=True, ge=1, le=600)] = 5
    failure_policy: FailurePolicy = FailurePolicy.IGNORE


class AdaptationPlugin(Model):
    """A domain plugin, ready to be named by routers."""

    api_version: Literal["pilotfish.dev/v1alpha1"]
    kind: Literal["AdaptationPlugin"]
    metadata: Metadata
    spec: AdaptationPluginSpec
    status: AdaptationPluginStatus | None = None

    @property
    def name(self) -> str:
        """The object's name."""
        return self.metadata.name
