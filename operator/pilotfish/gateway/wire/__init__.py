"""Shapes of OpenAI's API: what is read from bodies and chunks, and what is added to them. No I/O."""
