"""Tell the language of each statement by the words that belong to one language alone."""

from itertools import pairwise
from typing import NamedTuple

from ecgrepro.translation.glossary import NEUTRAL, Glossary
from ecgrepro.translation.normalize import SENTENCE_ENDS, WIDE_GAP, Token, is_word, tokenize

_DEFAULTS = (("shared", "german"), ("foreign", "other"), ("common", "english"))
"""What a report without any telling word is taken for."""
_SHORT = 3
"""Letters below which a word cannot be told from a stump."""
_TELLING = 5
"""Letters from which a foreign word in an English sentence is taken seriously."""


class Piece(NamedTuple):
    """A stretch of a report in one language: tokens start to end."""

    language: str
    start: int
    end: int


class Languages:
    """The words of every language, compiled for voting.

    Attributes
    ----------
    english
        Words of the English list and of the glossaries' English side.
    neutral
        Words that are the same in every language: leads, units, names of drugs.
    """

    def __init__(self, glossaries: dict[str, Glossary], english: frozenset[str]) -> None:
        self._glossaries = glossaries
        self._names = (*glossaries, "english")
        own = {word for glossary in glossaries.values() for word in glossary.words}
        entries = [entry for glossary in glossaries.values() for entry in glossary.entries]
        targets = {
            token.key
            for entry in entries
            for token in tokenize(entry.english)
            if is_word(token.key)
        }
        self.english = english | (targets - own)
        self.neutral = NEUTRAL | {
            token.key
            for entry in entries
            if entry.part == "name"
            for token in tokenize(entry.source)
        }
        self._tags = self._tag_words()

    def _tag_words(self) -> dict[str, str]:
        """Say of each known word which language it votes for.

        'shared' is known to several glossaries but not to English, 'common' is English and another, and a neutral
        word has no vote.
        """
        tags: dict[str, str] = {}
        for word in self.english.union(*(glossary.words for glossary in self._glossaries.values())):
            holders = [
                name for name, glossary in self._glossaries.items() if word in glossary.words
            ]
            if word in self.english:
                tags[word] = "common" if holders else "english"
            else:
                tags[word] = holders[0] if len(holders) == 1 else "shared"
        return tags | dict.fromkeys(self.neutral, "neutral")

    def cut(self, tokens: list[Token]) -> list[tuple[int, str, int]]:
        """Cut at sentence ends and wide gaps: the length of each cut and its vote."""
        cuts = [0]
        for position, token in enumerate(tokens):
            if position and (
                tokens[position - 1].key in SENTENCE_ENDS or len(token.gap) >= WIDE_GAP
            ):
                cuts.append(position)
        cuts.append(len(tokens))
        return [(stop - start, *self.vote(tokens[start:stop])) for start, stop in pairwise(cuts)]

    def pieces(self, cuts: list[tuple[int, str, int]]) -> list[Piece]:
        """Tag each cut, a doubtful one like its neighbours, and join neighbours of one language."""
        totals: dict[str, int] = {}
        for _, language, weight in cuts:
            totals[language] = totals.get(language, 0) + weight
        known = {name: totals[name] for name in self._names if name in totals}
        if known:
            default = max(known, key=lambda name: known[name])
        else:
            default = next((tag for weak, tag in _DEFAULTS if weak in totals), "english")
        pieces: list[Piece] = []
        start = 0
        for length, language, _ in cuts:
            before = pieces[-1].language if pieces else default
            if language in self._names:
                tag = language
            elif language == "shared" and before not in self._glossaries:
                tag = default if default in self._glossaries else "german"
            else:
                tag = before
            stop = start + length
            if pieces and pieces[-1].language == tag:
                pieces[-1] = Piece(tag, pieces[-1].start, stop)
            else:
                pieces.append(Piece(tag, start, stop))
            start = stop
        return pieces

    def vote(self, tokens: list[Token]) -> tuple[str, int]:
        """Count the words that belong to one language alone; without any, say what kind there is."""
        counts: dict[str, int] = {}
        for token in tokens:
            tag = self._tags.get(token.key)
            if tag is None:
                if not is_word(token.key):
                    continue
                tag = "foreign"
            if len(token.key) < _SHORT:
                tag = "common"
            counts[tag] = counts.get(tag, 0) + 1
        best, votes = "", 0
        for name in self._names:
            if counts.get(name, 0) > votes:
                best, votes = name, counts[name]
        if votes:
            if best != "english" and counts.get("english", 0) == votes:
                return "", 0  # a tie is decided by the rest of the report
            if best != "english" or counts.get("shared", 0) < votes:
                return best, votes
        for weak in ("shared", "foreign", "common"):
            if weak in counts:
                return weak, counts[weak]
        return "", 0

    def foreign_in_english(self, tokens: list[Token]) -> str:
        """Name the glossary that knows a word of an English piece which English does not."""
        for name, glossary in self._glossaries.items():
            if any(
                len(token.key) >= _TELLING and self.tells(token.key, glossary) for token in tokens
            ):
                return name
        return ""

    def tells(self, key: str, glossary: Glossary) -> bool:
        """Tell whether a word is the glossary's and not English."""
        return key in glossary.words and key not in self.english and key not in self.neutral

    def knows(self, key: str) -> bool:
        """Tell whether a word needs no translation."""
        return key in self.english or key in self.neutral
