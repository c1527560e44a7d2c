"""`decompose`: a small model splits a complex question, the parts are answered, the router's models compose.

After Juneja et al., "Small Language Models Fine-tuned to Coordinate Larger Language Models Improve Complex Reasoning"
(DaSLaM), EMNLP 2023. The splitter here is prompted, not fine-tuned, and parts are answered at the same time, so that
no part sees the answer to another.
"""

from pilotfish_decompose.plugin import Config, Decompose

__all__ = ["Config", "Decompose"]
