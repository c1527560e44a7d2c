"""Whether the models of a pool's logits plugins have the vocabulary of its own model: their scores are added by token.

Only the vocabularies matter: the plugins' models see token ids, so chat templates may differ.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from transformers import AutoTokenizer

from pilotfish.render.logits import SETTINGS


def check_vocabularies(llm_config: Mapping[str, Any]) -> None:
    """Raises ValueError for the first model whose vocabulary differs, with the number of tokens that differ.

    `llm_config` is the configuration of Ray's LLMServer, as `render/serve_application.py` writes it.
    """
    arguments, loading = llm_config["engine_kwargs"], llm_config["model_loading_config"]
    beside = list(_models(arguments))
    if not beside:
        return
    wanted = _vocabulary(arguments.get("tokenizer") or loading["model_source"])
    for kind, role, folder in beside:
        different = wanted.items() ^ _vocabulary(folder).items()
        if different:
            tokens = sorted({token for token, _ in different})
            raise ValueError(
                f"spec.logits: the model with role {role} of plugin type {kind} has another vocabulary than the pool's"
                f" model: {len(tokens)} tokens differ, such as {tokens[0]!r}: use a model of the same family"
            )


def _models(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    settings = (arguments.get("additional_config") or {}).get(SETTINGS, {})
    for kind, each in settings.items():
        for role, folder in each["models"].items():
            yield kind, role, folder


def _vocabulary(folder: str) -> dict[str, int]:
    vocabulary: dict[str, int] = AutoTokenizer.from_pretrained(folder, local_files_only=True).get_vocab()
    return vocabulary
