"""`prompt-retrieval`: demonstrations that resemble the question and that helped a model before, in front of it.

After Cheng et al., "UPRISE: Universal Prompt Retrieval for Improving Zero-Shot Evaluation", EMNLP 2023. In place of a
trained retriever, the similarity is multiplied by what each demonstration changed in recorded answers. Near copies
are avoided in the manner of maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998).
"""

from pilotfish_prompt_retrieval.demonstrations import demonstration_id
from pilotfish_prompt_retrieval.plugin import Config, Placement, PromptRetrieval

__all__ = ["Config", "Placement", "PromptRetrieval", "demonstration_id"]
