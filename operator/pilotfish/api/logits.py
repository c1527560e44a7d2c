"""A pool's logits plugins: plugins inside the engine that change the scores of the next token, and their models."""

from typing import Annotated

from pilotfish.api.common import Label, LocalObjectRef, Model, Rule, list_map
from pilotfish.api.engine import ModelSource

MOST_MODELS = 4
"""Models of one logits plugin."""


class LogitsModel(Model):
    """A model that a logits plugin runs beside the pool's own, in the same engine."""

    role: Label
    """The role of the model. The plugin defines which roles exist."""
    model: ModelSource
    """The location of the model's weights. Its vocabulary must equal that of the pool's model."""


class LogitsUse(Model):
    """An AdaptationPlugin that changes the scores of the next token inside the pool's engine."""

    plugin_ref: LocalObjectRef
    """The AdaptationPlugin, of the same namespace. Its type must be a plugin of the group pilotfish.logits."""
    models: Annotated[tuple[LogitsModel, ...], *list_map("role", maximum=MOST_MODELS)] = ()
    """The models that the plugin runs, by role, at most 4. Each engine process loads them beside the pool's model."""


LOGITS_RULES = (
    Rule(
        message="logits must not list a plugin twice",
        cel="!has(self.logits) || self.logits.all(p, self.logits.filter(q,"
        " q.pluginRef.name == p.pluginRef.name).size() == 1)",
        holds=lambda s: s.logits is None or len({use.plugin_ref.name for use in s.logits}) == len(s.logits),
        field=("logits",),
    ),
    Rule(
        message="logits needs task Generate: remove logits, or change the task",
        cel="!has(self.logits) || self.task == 'Generate'",
        holds=lambda s: s.logits is None or s.task == "Generate",
        field=("logits",),
    ),
    Rule(
        message="the engine does not apply logits plugins with speculative decoding: remove logits, or"
        " engine.speculative",
        cel="!has(self.logits) || !has(self.engine) || !has(self.engine.speculative)",
        holds=lambda s: s.logits is None or s.engine is None or s.engine.speculative is None,
        field=("logits",),
    ),
    Rule(
        message="logits needs pipelineParallelSize 1: remove logits, or use tensorParallelSize",
        cel="!has(self.logits) || !has(self.engine) || self.engine.pipelineParallelSize == 1",
        holds=lambda s: s.logits is None or s.engine is None or s.engine.pipeline_parallel_size == 1,
        field=("logits",),
    ),
)
