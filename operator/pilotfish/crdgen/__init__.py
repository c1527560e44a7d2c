"""From the Pydantic models of `api` to CustomResourceDefinitions: pure functions from classes to plain values and text.

Nothing here reads or writes files; the command line does.
"""
