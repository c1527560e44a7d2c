"""`redact`: personal data and secrets are replaced by placeholders before a call leaves, and restored in its answer.

This is pseudonymisation (Lison et al., "Anonymisation Models for Text Data: State of the Art, Challenges and Future
Directions", ACL 2021): what is not recognised leaves unmasked, and what surrounds a placeholder may identify a person.
"""

from pilotfish_redact.redact import Redact

__all__ = ["Redact"]
