"""What is added to a question, and the citations that say where it comes from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pilotfish.plugin_api.messages import estimate_tokens
from pilotfish_retrieval.index import Candidate

INSTRUCTION = (
    "Answer the question at the end with the numbered passages, and cite the passages that you use by their numbers, "
    "such as [1]. If they do not contain the answer, say so."
)


@dataclass(frozen=True, slots=True)
class Context:
    """The text that is added, and the candidates in it in the order of their numbers, which start at 1."""

    text: str
    used: Sequence[Candidate]

    @property
    def citations(self) -> list[dict[str, Any]]:
        """One JSON object for each passage. `span` are characters of the document's text."""
        return [
            {
                "number": number,
                "source": each.stored.source,
                "path": each.stored.path,
                "headings": list(each.stored.passage.headings),
                "span": [each.stored.passage.start, each.stored.passage.end],
                "score": round(each.score, 4),
            }
            for number, each in enumerate(self.used, 1)
        ]


def context_of(candidates: Sequence[Candidate], instruction: str | None, count: int, max_tokens: int) -> Context | None:
    """The best candidates that fit, at most `count`. None if none fits. Passages with equal text appear once."""
    intro, end = instruction or INSTRUCTION, "Question:"
    left = max_tokens - estimate_tokens(f"{intro}\n\n{end}")
    parts: list[str] = []
    used: list[Candidate] = []
    seen: set[str] = set()
    for each in candidates:
        part = _shown(len(used) + 1, each)
        size = estimate_tokens(f"{part}\n\n")
        if each.stored.passage.text in seen or size > left:
            continue
        seen.add(each.stored.passage.text)
        parts.append(part)
        used.append(each)
        left -= size
        if len(used) == count:
            break
    return Context("\n\n".join([intro, *parts, end]), used) if used else None


def _shown(number: int, candidate: Candidate) -> str:
    stored = candidate.stored
    path = " > ".join([f"{stored.source}/{stored.path}", *stored.passage.headings])
    return f"[{number}] {path}\n{stored.passage.text.strip()}"
