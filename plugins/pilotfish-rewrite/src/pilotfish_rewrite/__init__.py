"""`rewrite`: a small model corrects the answer, some sentences at a time.

After Ji et al., "Aligner: Efficient Alignment by Learning to Correct", NeurIPS 2024: a small model learns the
difference between an answer and a better one, which is easier than to answer, and corrects any model's answers. The
paper corrects whole answers. Here each window of sentences is corrected while the rest still arrives.
"""

from pilotfish_rewrite.plugin import Config, Rewrite

__all__ = ["Config", "Rewrite"]
