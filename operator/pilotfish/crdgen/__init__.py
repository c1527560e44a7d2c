"""From the Pydantic models to custom resource definitions."""
