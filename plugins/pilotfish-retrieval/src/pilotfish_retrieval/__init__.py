"""`retrieval`: passages of a team's documents, found for each question and put in front of it, with citations."""

from pilotfish_retrieval.plugin import Retrieval

__all__ = ["Retrieval"]
