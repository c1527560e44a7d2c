"""The OpenAI API over HTTP: routes, cascades, limits. It loads no weights and keeps no state."""
