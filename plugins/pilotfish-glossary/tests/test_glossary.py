"""`glossary`: which terms a question mentions, what is added for them, and what documents may contain."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.adaptations import Conversation
from pilotfish.plugin_api.preparing import Document
from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.models import StandInModels
from pilotfish_glossary import Glossary
from pilotfish_glossary.documents import Columns, read_entries
from pilotfish_glossary.entries import Entry
from pilotfish_glossary.linking import Linker

PTO = {"term": "paid time off", "aliases": ["PTO", "annual leave"], "definition": "Days off with full pay."}
BANK_BY_WATER = {"term": "bank (river)", "aliases": ["bank"], "definition": "The land beside the water of a river."}
BANK_OF_MONEY = {"term": "bank (money)", "aliases": ["bank"], "definition": "A company that keeps and lends money."}
IT = {"term": "Information Technology", "aliases": ["IT"], "definition": "The people who repair laptops."}
PLUS = {"term": "C++", "definition": "A language."}
WHALE = {"term": "鯨", "definition": "A whale."}
ENTRIES = [PTO, BANK_BY_WATER, BANK_OF_MONEY, IT, PLUS, WHALE]
LINKER = Linker([Entry.model_validate(each) for each in ENTRIES])


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("How much PTO do I have?", ["paid time off"]),
        ("Paid\n  time off, or Annual Leave?", ["paid time off"]),
        ("Is pto an acronym?", []),
        ("it broke", []),
        ("IT broke it", ["Information Technology"]),
        ("prepaid time off, PTOs, MY_PTO", []),
        ("C++ or C++11?", ["C++"]),
        ("白鯨です", ["鯨"]),
        ("Which bank lends me money?", ["bank (money)"]),
        ("Is there land for sale on the bank of the river?", ["bank (river)"]),
        ("İİ PTO", ["paid time off"]),
    ],
)
def test_whole_names_are_found_and_linked(text: str, terms: list[str]) -> None:
    assert [mention.entry.term for mention in LINKER.mentions(text)] == terms


def test_of_overlapping_names_the_longest_that_is_whole_counts() -> None:
    names = ["card", "credit card", "credit card fee", "fee"]
    linker = Linker([Entry(term=name, definition="x") for name in names])

    def terms(text: str) -> list[str]:
        return [mention.entry.term for mention in linker.mentions(text)]

    assert terms("a credit card fee") == ["credit card fee"]
    assert terms("a credit card feeling") == ["credit card"]
    assert terms("a credit cardboard fee") == ["fee"]


@given(st.lists(st.sampled_from("abAB İß_é"), max_size=40).map("".join), st.lists(st.text("abAB é", min_size=1)))
def test_every_mention_is_written_in_the_text(text: str, names: list[str]) -> None:
    linker = Linker([Entry(term=name, definition="x", case="Ignore") for name in names if name.strip()])
    for mention in linker.mentions(text):
        assert mention.written in " ".join(text.split())
        assert mention.written.lower() == " ".join(mention.entry.term.split()).lower()


def glossary(**config: object) -> Glossary:
    return Glossary.from_settings(Settings({"entries": ENTRIES, **config}))


def asking(text: str, **more: int) -> Conversation:
    return Conversation(({"role": "system", "content": "PTO"}, {"role": "user", "content": text}), **more)


async def test_definitions_go_in_front_of_the_last_user_turn() -> None:
    rewritten = await glossary().on_request(conversation=asking("Does IT have PTO?"), models=StandInModels())
    assert rewritten is not None
    first, last = rewritten.messages
    assert first["content"] == "PTO"
    assert last["content"].splitlines() == [
        "Terms used in the question below:",
        "- Information Technology (here: IT): The people who repair laptops.",
        "- paid time off (here: PTO): Days off with full pay.",
        "",
        "Does IT have PTO?",
    ]
    assert rewritten.notes == {"terms": {"Information Technology": "IT", "paid time off": "PTO"}}


@pytest.mark.parametrize(
    ("config", "context_tokens", "terms"),
    [
        ({}, None, ["Information Technology", "paid time off"]),
        ({"maxTerms": 1}, None, ["Information Technology"]),
        ({"maxTokens": 35}, None, ["Information Technology"]),
        ({}, 35, ["Information Technology"]),
        ({}, 0, []),
        ({"maxTokens": 1}, None, []),
    ],
)
async def test_what_is_added_keeps_the_limits(
    config: dict[str, int], context_tokens: int | None, terms: list[str]
) -> None:
    asked = asking("Does IT have PTO?", context_tokens=context_tokens)
    rewritten = await glossary(**config).on_request(conversation=asked, models=StandInModels())
    assert list(rewritten.notes["terms"] if rewritten else ()) == terms


async def test_a_question_without_terms_stays_as_it_is() -> None:
    for asked in (asking("Hello"), Conversation(()), Conversation(({"role": "tool", "content": "PTO"},))):
        assert await glossary().on_request(conversation=asked, models=StandInModels()) is None


CSV = 'Term, Aliases, Definition\nSLA,service level;  agreed level,"Promised, in writing."\n\n'
YAML = "- {term: SLA, aliases: [service level, agreed level], definition: 'Promised, in writing.'}\n"
MARKDOWN = """\
# Words

| Month | Days |
|---|---|
| May | 31 |

| Definition | Term | Aliases |
|---|:-:|---|
| Promised, *in writing*. | `SLA` | service level; agreed level |
"""


@pytest.mark.parametrize(("path", "text"), [("a.csv", CSV), ("a.YAML", YAML), ("deep/a.md", MARKDOWN)])
def test_tables_and_lists_become_entries(path: str, text: str) -> None:
    (entry,) = read_entries(path, text.encode(), Columns())
    assert entry.names == ("SLA", "service level", "agreed level")
    assert entry.definition == "Promised, in writing."


@pytest.mark.parametrize(
    ("path", "content", "where", "reason"),
    [
        ("a.csv", b"term,meaning\nSLA,x\n", "a.csv: line 2", "has no 'definition': set config.columns"),
        ("a.csv", b"term,definition,case\nSLA,x,Upper\n", "a.csv: line 2", "case: .*'Auto'"),
        ("a.csv", b'term,definition\nSLA,"x\n', "a.csv: line 2", "is not valid CSV"),
        ("a.csv", b"\xff", "a.csv", "is not UTF-8"),
        ("a.yaml", b"- {term: SLA}", "a.yaml: entry 1", "definition: "),
        ("a.yaml", b"NO: Norway", "a.yaml: entry 1", "term: "),
        ("a.yaml", b"SLA", "a.yaml", "must be a list of entries"),
        ("a.yaml", b"[", "a.yaml", "is not valid YAML"),
        ("a.md", b"| Term | Definition |\n|---|---|\n| | x |\n", "a.md: line 3", "has no 'term'"),
    ],
)
def test_a_document_that_is_not_valid_is_refused_by_path_and_place(
    path: str, content: bytes, where: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason) as refused:
        read_entries(path, content, Columns())
    assert refused.value.field == where


@dataclass
class Folder:
    """`Documents` and `Workspace` of a test."""

    contents: dict[str, bytes]
    path: Path
    previous: Path | None = None

    def __len__(self) -> int:
        return len(self.contents)

    def __iter__(self) -> Iterator[Document]:
        for path, content in sorted(self.contents.items()):
            yield Document("handbook", path, hashlib.sha256(content).hexdigest(), len(content))

    def read(self, document: Document) -> bytes:
        return self.contents[document.path]

    def has(self, name: str) -> bool:
        return (self.path / name).exists()

    def write(self, name: str, content: bytes) -> None:
        (self.path / name).write_bytes(content)


async def test_entries_of_documents_are_used_once_they_are_prepared(tmp_path: Path) -> None:
    folder = Folder({"terms.csv": CSV.encode(), "logo.png": b"\x89", "bank.yaml": b"bank: A bench."}, tmp_path)
    steps: list[tuple[int, int]] = []
    prepared = await glossary().prepare(
        documents=folder, into=folder, models=StandInModels(), progress=lambda *step: steps.append(step[:2])
    )
    assert (prepared.documents, dict(prepared.details)) == (2, {"entries": 2, "skipped": 1})
    assert steps == [(1, 2), (2, 2)]
    made = Glossary.from_settings(Settings({"entries": ENTRIES}, prepared=tmp_path))
    rewritten = await made.on_request(conversation=asking("An agreed level of PTO"), models=StandInModels())
    assert rewritten is not None
    assert rewritten.notes == {"terms": {"SLA": "agreed level", "paid time off": "PTO"}}


async def test_documents_without_an_entry_are_refused(tmp_path: Path) -> None:
    folder = Folder({"a.md": b"# No table"}, tmp_path)
    with pytest.raises(ConfigError, match=r"sources: no document has an entry: .*'term' and 'definition'"):
        await glossary().prepare(documents=folder, into=folder, models=StandInModels(), progress=lambda *_: None)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"entries": [{"term": "a"}]}, "config.entries.0.definition"),
        ({"entries": [{**PTO, "aliases": [" "]}]}, "config.entries.0.aliases.0"),
        ({"maxTerms": 0}, "config.maxTerms"),
        ({"columns": {"name": "x"}}, "config.columns.name"),
    ],
)
def test_config_that_is_not_valid_is_refused_by_field(config: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Glossary.from_settings(Settings(config))
    assert refused.value.field == field
