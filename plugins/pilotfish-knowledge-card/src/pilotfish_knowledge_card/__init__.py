"""`knowledge-card`: a small model of a domain writes what it knows about the question, and the router's models read it.

After Feng et al., "Knowledge Card: Filling LLMs' Knowledge Gaps with Plug-in Specialized Language Models", ICLR 2024,
and Li et al., "BLADE: Enhancing Black-box Large Language Models with Small Domain-Specific Models", AAAI 2025.
"""

from pilotfish_knowledge_card.plugin import Config, KnowledgeCard

__all__ = ["Config", "KnowledgeCard"]
