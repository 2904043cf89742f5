"""Translate one report: language by statement, longest phrase first, then words, else left and marked."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ecgrepro.translation.glossary import Glossary
from ecgrepro.translation.language import Languages
from ecgrepro.translation.match import longest, reads_as_in
from ecgrepro.translation.normalize import Token, tokenize
from ecgrepro.translation.spelling import complete, delete_index, nearest, split_glued
from ecgrepro.translation.writing import Item, join_pieces, write

_FULL_LENGTH = 200
"""Characters from which a report may have been cut off by the print-out's limit of 255."""
_SHORTEST_WORD = 3
_LONGEST_LINE = 400
_MEMORY = 50_000
"""Entries after which a memory is emptied: a hostile input must not fill the machine's."""
_LINE = re.compile(r"\s*\S+(?:(?<![.!?;])\s{1,2}\S+)*")
"""A sentence or a line of the print-out (what stands between wide gaps), with the spaces before it."""


Line = tuple[list[Token], list[tuple[int, str, int]], bool]
"""What is remembered of a line: its tokens, its cuts with their votes, and whether a foreign word is in it."""


@dataclass(frozen=True, slots=True)
class Result:
    """A translated text, before boilerplate is put beside it.

    Attributes
    ----------
    english
        The translation.
    languages
        Of its statements, in order of appearance.
    words, covered
        How many words (leads and units among them) there are, and how many were known.
    unmatched, repaired
        Words left as they were; words whose spelling was corrected or completed ('old > new').
    changed
        Whether anything was translated at all.
    """

    english: str
    languages: tuple[str, ...]
    words: int
    covered: int
    unmatched: tuple[str, ...]
    repaired: tuple[str, ...]
    changed: bool


@dataclass
class _Draft:
    """A result in the making."""

    parts: list[str] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    words: int = 0
    covered: int = 0
    unmatched: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    changed: bool = False

    def result(self) -> Result:
        return Result(
            join_pieces(self.parts),
            tuple(dict.fromkeys(self.languages)),
            self.words,
            self.covered,
            tuple(self.unmatched),
            tuple(self.repaired),
            self.changed,
        )


class Translator:
    """The compiled glossaries, and a memory of repaired words and of English sentences.

    A class, not a function, because compiling takes a tenth of a second and the memory pays.
    """

    def __init__(self, glossaries: dict[str, Glossary], english: frozenset[str]) -> None:
        self.glossaries = glossaries
        self.languages = Languages(glossaries, english)
        shared = self.languages.english | self.languages.neutral
        self._known = {name: glossary.words | shared for name, glossary in glossaries.items()}
        self._deletes = {
            name: delete_index(glossary.words) for name, glossary in glossaries.items()
        }
        self._repairs: dict[tuple[str, str], str | None] = {}
        self._lines: dict[str, Line] = {}

    def translate(self, text: str) -> Result:
        """Translate a lower-case text without boilerplate."""
        draft = _Draft()
        tokens: list[Token] = []
        cuts: list[tuple[int, str, int]] = []
        foreign = False
        for line in _LINE.findall(text):
            line_tokens, line_cuts, line_foreign = self._read_line(line)
            tokens += line_tokens
            cuts += line_cuts
            foreign = foreign or line_foreign
        length = len(text)
        for piece in self.languages.pieces(cuts) if tokens else []:
            own = tokens[piece.start : piece.end]
            language = piece.language if piece.language != "other" else self._by_repair(own)
            draft.languages.append(language)
            if language in self.glossaries:
                cut_off = length if piece.end == len(tokens) else 0
                self._translate_piece(own, self.glossaries[language], cut_off, draft)
            elif (
                language == "english"
                and foreign
                and (name := self.languages.foreign_in_english(own))
            ):
                draft.languages.append(name)
                self._add(list(self._items(own, self.glossaries[name], mixed=True)), draft)
            else:
                self._keep(own, draft)
        return draft.result()

    def _read_line(self, line: str) -> Line:
        """Cut a line into tokens, let it vote and look for foreign words; most lines come again and again."""
        found = self._lines.get(line)
        if found is None:
            tokens = tokenize(line)
            cuts = self.languages.cut(tokens) if tokens else []
            found = tokens, cuts, bool(self.languages.foreign_in_english(tokens))
            if len(line) <= _LONGEST_LINE:
                if len(self._lines) > _MEMORY:
                    self._lines.clear()
                self._lines[line] = found
        return found

    def _keep(self, tokens: list[Token], draft: _Draft) -> None:
        """Leave a piece as it is, and count what is known of it."""
        draft.parts.append(" ".join("".join([token.gap + token.text for token in tokens]).split()))
        for token in tokens:
            if token.words:
                draft.words += 1
                if self.languages.knows(token.key):
                    draft.covered += 1
                else:
                    draft.unmatched.append(token.text)

    # --- German and Swedish -----------------------------------------------------------------------------

    def _by_repair(self, tokens: list[Token]) -> str:
        """Name the language of a piece of unknown words, if repairing their spelling makes it plain."""
        for name, glossary in self.glossaries.items():
            prepared, _ = self._prepare(tokens, glossary, 0)
            if any(self.languages.tells(token.key, glossary) for token in prepared):
                return name
        return "other"

    def _translate_piece(
        self, tokens: list[Token], glossary: Glossary, cut_off: int, draft: _Draft
    ) -> None:
        """Translate a piece that is German or Swedish as a whole."""
        prepared, repaired = self._prepare(tokens, glossary, cut_off)
        draft.repaired += repaired
        self._add(list(self._items(prepared, glossary, mixed=False)), draft)

    def _add(self, items: list[Item], draft: _Draft) -> None:
        """Write the items and count the words that they cover."""
        draft.parts.append(write(items))
        draft.changed = True
        for item in items:
            draft.words += item.words
            if item.known:
                draft.covered += item.words
            else:
                draft.unmatched.append(item.text)

    def _prepare(
        self, tokens: list[Token], glossary: Glossary, cut_off: int
    ) -> tuple[list[Token], list[str]]:
        """Join words that a hyphen has cut, cut words that are glued, and repair spelling.

        `cut_off` is the length of the report where the piece is its end, else 0.
        """
        known = self._known[glossary.language]
        joined: list[Token] = []
        repaired: list[str] = []
        for token in tokens:
            if joined and "-" in token.gap:
                before = joined[-1]
                whole = before.key + token.key
                if len(whole) > 5 and whole in glossary.words:
                    joined[-1] = Token(
                        whole, before.gap, before.text + token.text, before.words + token.words
                    )
                    continue
            if token.key in known or not token.words:
                joined.append(token)
            else:
                joined += split_glued(token, glossary)
        if (
            cut_off
            and joined[-1].words
            and (completed := self._complete(joined, glossary, cut_off))
        ):
            repaired.append(f"{joined[-1].key} > {completed}")
            joined[-1] = joined[-1]._replace(key=completed)
        for position, token in enumerate(joined):
            if token.key in known or not token.words or len(token.key) < _SHORTEST_WORD:
                continue
            correct = self._repair(token.key, glossary)
            if correct is not None:
                joined[position] = token._replace(key=correct)
                repaired.append(f"{token.key} > {correct}")
        return joined, repaired

    def _complete(self, tokens: list[Token], glossary: Glossary, cut_off: int) -> str | None:
        """Complete a last word that was cut off; one that is a word itself only in a report of full length."""
        key = tokens[-1].key
        whole = key in self._known[glossary.language]
        if whole and cut_off < _FULL_LENGTH:
            return None
        spans = 3 if whole or len(key) < _SHORTEST_WORD else 2 if len(key) == _SHORTEST_WORD else 1
        return complete(tokens, glossary, spans)

    def _repair(self, key: str, glossary: Glossary) -> str | None:
        """Find the one glossary word a letter away, and remember it."""
        memory = (glossary.language, key)
        if memory not in self._repairs:
            if len(self._repairs) > _MEMORY:
                self._repairs.clear()
            self._repairs[memory] = nearest(key, self._deletes[glossary.language])
        return self._repairs[memory]

    def _items(self, tokens: list[Token], glossary: Glossary, mixed: bool) -> Iterator[Item]:
        """Match phrases from left to right, the longest at each place."""
        keys = [token.key for token in tokens]
        position = 0
        while position < len(tokens):
            token = tokens[position]
            found = longest(glossary, keys, position)
            if found is not None and mixed:
                span = keys[position : found[0]]
                if not any(len(key) > 4 and self.languages.tells(key, glossary) for key in span):
                    found = None
            if found is not None and token.key == "i" and not reads_as_in(keys, position, found[0]):
                found = None
            if found is None:
                known = not token.words or self.languages.knows(token.key)
                yield Item(token.text, "", token.gap, token.words, known, False)
                position += 1
                continue
            end, entry, fillings = found
            english = entry.english
            for slot, filling in fillings:
                english = english.replace(f"<{slot}>", filling.english, 1)
            words = (
                token.words
                if end == position + 1
                else sum([one.words for one in tokens[position:end]])
            )
            yield Item(english, entry.part, token.gap, words, True, True)
            position = end
