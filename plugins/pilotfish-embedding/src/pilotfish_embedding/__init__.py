"""`embedding`: how well the candidate pool will do, from where the prompt lies among prompts whose outcome is known.

The prompt's vector comes from a pool of task Embed. k nearest neighbours vote by similarity (Lee et al.,
"OrchestraLLM", NAACL 2024; Hu et al., "RouterBench", 2024), and a linear head reads the vector on its leading
directions, a low-rank form of the matrix factorisation of Ong et al., "RouteLLM", ICLR 2025. A logistic head joins
the two into a probability.
"""

from pilotfish_embedding.scorer import EmbeddingScorer

__all__ = ["EmbeddingScorer"]
