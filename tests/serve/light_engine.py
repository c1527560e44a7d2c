"""A Serve application that answers like an engine and starts at once: for tests of what is around engines."""

from collections.abc import Mapping
from typing import Any

from ray import serve
from starlette.requests import Request


@serve.deployment
class LightEngine:
    """Answers every request with an empty chat completion."""

    async def __call__(self, request: Request) -> dict[str, Any]:
        return {"object": "chat.completion", "choices": []}


def build(arguments: Mapping[str, Any]) -> Any:
    """The application, with its deployment under the name that the pool's engine has."""
    return LightEngine.options(name=arguments["name"]).bind()
