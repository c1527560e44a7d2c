"""`glossary`: definitions of the domain's terms that a question uses, in front of the question.

A model does not know terms that its training data lacks, and guesses what they mean. Prompts that define them need no
training (Ghazvininejad, Gonen and Zettlemoyer, "Dictionary-based Phrase-level Prompting of Large Language Models for
Machine Translation", 2023).
"""

from pilotfish_glossary.glossary import Glossary

__all__ = ["Glossary"]
