"""The adaptation: a list of definitions in front of the last user turn."""

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Self

from pydantic import Field, TypeAdapter

from pilotfish.api.common import Model
from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.adaptations import Conversation, Rewritten
from pilotfish.plugin_api.messages import estimate_tokens, last_user_text, with_context
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.preparing import Documents, Prepared, Progress, Workspace
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish_glossary.documents import SUFFIXES, Columns, read_entries
from pilotfish_glossary.entries import Entry
from pilotfish_glossary.linking import Linker, Mention

FILE = "entries.json"
ENTRIES = TypeAdapter(tuple[Entry, ...])


class Config(Model):
    """The entries of the glossary beside those of documents, and how much is added to a question."""

    entries: Annotated[tuple[Entry, ...], Field(max_length=1000)] = ()
    """Entries in the manifest itself. They come before those of documents."""
    columns: Columns = Columns()
    """The headings of tables in documents."""
    max_terms: Annotated[int, Field(ge=1, le=100)] = 5
    """The largest number of definitions that are added to one question."""
    max_tokens: Annotated[int, Field(ge=1, le=8000)] = 200
    """The largest number of tokens that are added, estimated from bytes."""
    heading: Annotated[str, Field(min_length=1, max_length=500)] = "Terms used in the question below:"
    """The line above the definitions."""


class Glossary:
    """Adds the definitions of the terms that the last user turn mentions."""

    prepared_format: ClassVar[int] = 1
    sources_optional: ClassVar[bool] = True
    config_model: ClassVar[type[Model]] = Config

    def __init__(self, config: Config, prepared: Sequence[Entry] = ()) -> None:
        self._config = config
        self._linker = Linker([*config.entries, *prepared])

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError with the path of the invalid field."""
        config = read_config(Config, settings)
        if settings.prepared is None:
            return cls(config)
        return cls(config, ENTRIES.validate_json((settings.prepared / FILE).read_bytes()))

    async def prepare(self, *, documents: Documents, into: Workspace, models: Models, progress: Progress) -> Prepared:
        """Write the entries of all documents to one file. Documents of other formats are left out.

        Raises ConfigError for a document that is not valid, and where no document has an entry.
        """
        readable = [each for each in documents if each.path.lower().endswith(tuple(SUFFIXES))]
        entries: list[Entry] = []
        for done, document in enumerate(readable, start=1):
            content = await models.compute(documents.read, document)
            entries += await models.compute(read_entries, document.path, content, self._config.columns)
            progress(done, len(readable), document.path)
        if len(documents) and not entries:
            wanted = f"columns {self._config.columns.term!r} and {self._config.columns.definition!r}"
            raise ConfigError("sources", f"no document has an entry: they are CSV or Markdown with {wanted}, or YAML")
        into.write(FILE, ENTRIES.dump_json(tuple(entries), by_alias=True))
        return Prepared(len(readable), {"entries": len(entries), "skipped": len(documents) - len(readable)})

    async def on_request(self, *, conversation: Conversation, models: Models) -> Rewritten | None:
        """The definitions of the terms in the last user turn; None where it mentions no term."""
        question = last_user_text(conversation.messages)
        if question is None:
            return None
        mentions = await models.compute(self._linker.mentions, question)
        limits = (self._config.max_tokens, conversation.context_tokens)
        chosen = self._fitting(mentions, min(limit for limit in limits if limit is not None))
        if not chosen:
            return None
        context = "\n".join([self._config.heading, *map(_line, chosen)])
        notes = {"terms": {mention.entry.term: mention.written for mention in chosen}}
        return Rewritten(with_context(conversation.messages, context), notes=notes)

    def _fitting(self, mentions: Sequence[Mention], limit: int) -> list[Mention]:
        """The first mentions whose definitions fit into the limit of tokens."""
        return list(self._within(mentions, limit))[: self._config.max_terms]

    def _within(self, mentions: Sequence[Mention], limit: int) -> Iterator[Mention]:
        left = limit - estimate_tokens(self._config.heading + "\n\n")
        for mention in mentions:
            tokens = estimate_tokens(_line(mention) + "\n")
            if tokens <= left:
                left -= tokens
                yield mention


def _line(mention: Mention) -> str:
    """One definition, with the name that the question uses where that is another one."""
    entry, written = mention.entry, mention.written
    also = f" (here: {written})" if written.casefold() != entry.term.casefold() else ""
    return f"- {entry.term}{also}: {' '.join(entry.definition.split())}"
