"""`guard`: checks of requests and answers, by rules, classifiers and models that judge.

A model as a judge of what another model is asked and answers follows Inan et al., "Llama Guard", 2023. Instructions in
retrieved content are the threat of Greshake et al., "Not what you've signed up for: Compromising Real-World
LLM-Integrated Applications with Indirect Prompt Injection", 2023.
"""

from pilotfish_guard.guard import Guard

__all__ = ["Guard"]
