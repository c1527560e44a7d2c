"""`verify`: does the context that a model was given support each sentence of its answer?

Each sentence is compared with each passage of the context, and the passage that fits best counts, after Laban et al.,
"SummaC: Re-Visiting NLI-based Models for Inconsistency Detection in Summarization", TACL 2022. A pool can judge the
pair too: a small model that answers yes or no, after Manakul et al., "SelfCheckGPT", EMNLP 2023 (its prompting
variant) and Kadavath et al., "Language Models (Mostly) Know What They Know", 2022, or a model of alignment such as
that of Zha et al., "AlignScore", ACL 2023. A logistic regression joins the signals into a probability.
"""

from pilotfish_verify.config import Action, Config, Hold, Otherwise, Weights
from pilotfish_verify.plugin import Verify

__all__ = ["Action", "Config", "Hold", "Otherwise", "Verify", "Weights"]
