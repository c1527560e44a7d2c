"""A pool's engine: the model's weights, vLLM's settings, speculative decoding, LoRA adapters."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from pilotfish.api.common import Label, Model, Opaque, Rule, SecretKeyRef, Sha256, Uri


class SpeculativeType(StrEnum):
    """Which method drafts the tokens."""

    DRAFT_MODEL = "DraftModel"
    NGRAM = "NGram"
    EAGLE = "Eagle"


class ModelSource(Model):
    """The location of a model's weights."""

    uri: Uri
    """The address of the weights: scheme://path. The scheme selects the source that fetches them: hf (Hugging Face
    Hub), s3, gs, pvc (a PersistentVolumeClaim), file (a path on the machine, in a cluster in the pool's image), package
    (an installed Python package), or one that a plugin adds. `pilotfish plugins` lists the installed sources.
    """
    revision: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """The branch, tag or commit to fetch, for sources that have revisions, such as hf. Defaults to the source's own
    default, which is the branch main for hf.
    """
    sha256: Sha256 | None = None
    """The SHA-256 of the file that `uri` names, as 64 lower-case hexadecimal digits. Fetching fails if the file has
    another one. Only for a `uri` that names one file, or the parts of one.
    """
    credentials_secret_ref: SecretKeyRef | None = None
    """The Secret key that holds the credential for `uri`: an access token for hf, a service account's JSON key for gs,
    a JSON object with the options of s3fs (key, secret, token, endpoint_url) for s3. If unset, the weights are fetched
    without a credential from the manifest.
    """


class Speculative(Model):
    """Speculative decoding: a cheap method drafts tokens, and the model verifies several of them in one step."""

    rules: ClassVar = (
        Rule(
            message="draftModel is needed for type DraftModel and Eagle, and belongs to no other type",
            cel="(self.type != 'NGram') == has(self.draftModel)",
            holds=lambda s: (s.type != SpeculativeType.NGRAM) == (s.draft_model is not None),
            field=("draftModel",),
        ),
    )
    type: SpeculativeType
    """The method that drafts tokens.
    - DraftModel: a smaller model with the same vocabulary.
    - NGram: a lookup of the last tokens in the prompt and the answer; needs no other model.
    - Eagle: an EAGLE head that was trained for the model.
    """
    draft_model: ModelSource | None = None
    """The weights of the draft model or EAGLE head. Required for type DraftModel and Eagle, forbidden for NGram."""
    tokens: Annotated[int, Field(strict=True, ge=1, le=32)]
    """The number of tokens drafted at a time."""


class Engine(Model):
    """The settings of vLLM, the engine that runs the model."""

    max_model_length: Annotated[int, Field(strict=True, ge=1, le=16_777_216)] | None = None
    """The maximum number of tokens of prompt and answer together. Defaults to the model's own limit. A smaller value
    needs less memory.
    """
    tensor_parallel_size: Annotated[int, Field(strict=True, ge=1, le=256)] = 1
    """The number of accelerators that share each layer of the model. If `spec.accelerator` is set, tensorParallelSize
    times pipelineParallelSize must equal accelerator.count times `spec.nodes`.
    """
    pipeline_parallel_size: Annotated[int, Field(strict=True, ge=1, le=256)] = 1
    """The number of stages that the layers of the model are split into, each stage on accelerators of its own. If
    `spec.accelerator` is set, tensorParallelSize times pipelineParallelSize must equal accelerator.count times
    `spec.nodes`.
    """
    speculative: Speculative | None = None
    """Speculative decoding. Off if unset."""
    args: Opaque = {}
    """Other vLLM engine arguments, by the names that vLLM gives them, for example `gpu_memory_utilization: 0.8`. An
    argument that has a field in this API, such as `max_model_len` (maxModelLength), is rejected. Names are checked by
    vLLM when the engine starts.
    """


class Adapter(Model):
    """A LoRA adapter of the pool's model."""

    name: Label
    """The name of the adapter. Clients send `<pool>:<name>` in `model` to use it."""
    model: ModelSource
    """The location of the adapter's weights."""
