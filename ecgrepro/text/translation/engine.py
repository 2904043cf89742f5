"""Translate one report: language by statement, longest phrase first, then words, else left and marked."""

import re
from bisect import bisect_left
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from ecgrepro.text.translation.glossary import (
    HEADS,
    MODIFIERS,
    NEUTRAL,
    Glossary,
    longest,
    reads_as_in,
)
from ecgrepro.text.translation.tokens import (
    SENTENCE_ENDS,
    WIDE_GAP,
    Token,
    is_word,
    tokenize,
)

# --- the language of each statement -----------------------------------------------------------------------------

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


# --- spelling ---------------------------------------------------------------------------------------------------

_LOOK_BACK = 8
_STRAY = frozenset("bcfgjklmqrtwxyz")
"""Letters that stray before a word by mistake; none of them makes a word its opposite, as 'a' and 'u' might."""


def _deletions(word: str) -> set[str]:
    return {word[:index] + word[index + 1 :] for index in range(2, len(word))}


def delete_index(words: frozenset[str]) -> dict[str, set[str]]:
    """Index long words by themselves and by every form that lacks a letter (after the second)."""
    index: dict[str, set[str]] = {}
    for word in words:
        if len(word) >= 7 and "#" not in word:
            for form in {word, *_deletions(word)}:
                index.setdefault(form, set()).add(word)
    return index


def nearest(key: str, index: dict[str, set[str]]) -> str | None:
    """Find the one word an insertion, deletion, substitution or transposition away; a tie is no answer.

    The first two letters must agree, so that a negating 'un-' or 'a-' is never lost.
    """
    if not 7 <= len(key) <= 40:
        return None  # short words have too many neighbours
    if len(key) > 8 and key[1:] in index and key[0] in _STRAY:
        return key[1:]
    near: set[str] = set()
    for form in (key, *_deletions(key)):
        near |= {word for word in index.get(form, ()) if abs(len(word) - len(key)) <= 1}
    near = {word for word in near if word[:2] == key[:2] and _one_edit(word, key)}
    if len(near) > 1:  # an umlaut word is there in two spellings, which are one word
        stems = {word.replace("ae", "a").replace("oe", "o").replace("ue", "u") for word in near}
        near = {max(near, key=len)} if len(stems) == 1 else near
    if len(near) > 1:
        endings = {word[:-2] if len(word) > 8 else word for word in near}
        near = {min(near)} if len(endings) == 1 else near
    return near.pop() if len(near) == 1 else None


def _one_edit(left: str, right: str) -> bool:
    """Tell whether two words are one edit apart (Damerau-Levenshtein distance 1)."""
    if len(left) == len(right):
        differ = [index for index in range(len(left)) if left[index] != right[index]]
        return len(differ) == 1 or (
            len(differ) == 2
            and differ[1] == differ[0] + 1
            and left[differ[0]] == right[differ[1]]
            and left[differ[1]] == right[differ[0]]
        )
    longer, shorter = (left, right) if len(left) > len(right) else (right, left)
    return len(longer) - len(shorter) == 1 and any(
        longer[:index] + longer[index + 1 :] == shorter for index in range(len(longer))
    )


def complete(tokens: list[Token], glossary: Glossary, spans: int) -> str | None:
    """Complete the last word of a report where one longest phrase, of at least `spans` tokens, asks for it."""
    key = tokens[-1].key
    keys = [token.key for token in tokens[-_LOOK_BACK:]]
    # a whole word is completed only where that makes a longer phrase than the word itself does
    own = min(
        (
            start
            for start in range(len(keys))
            if (found := longest(glossary, keys, start)) and found[0] == len(keys)
        ),
        default=len(keys),
    )
    best: dict[int, dict[str, str]] = {}  # by start of the phrase: its English, and the word
    first = bisect_left(glossary.ordered, key)
    for word in glossary.ordered[first : bisect_left(glossary.ordered, key + "\U0010ffff", first)]:
        if "#" in word or word == key:
            continue
        keys[-1] = word
        for start in range(min(own, len(keys) - spans + 1)):
            found = longest(glossary, keys, start)
            if found is not None and found[0] == len(keys):
                english = found[1].english + "".join(filling.english for _, filling in found[2])
                best.setdefault(start, {}).setdefault(english, word)
                break
    if not best:
        return None
    candidates = best[min(best)]
    return next(iter(candidates.values())) if len(candidates) == 1 else None


def split_glued(token: Token, glossary: Glossary) -> list[Token]:
    """Cut two glossary words that lost the space between them ('leitungsstörungsonst')."""
    key = token.key
    for cut in range(4, len(key) - 3) if 9 <= len(key) <= 60 else ():
        if key[:cut] in glossary.words and key[cut:] in glossary.words:
            # an umlaut more or less does not matter
            middle = max(1, len(token.text) - (len(key) - cut))
            left = Token(key[:cut], token.gap, token.text[:middle], 1)
            return [left, Token(key[cut:], " ", token.text[middle:], 0)]  # one word, counted once
    return [token]


# --- writing ----------------------------------------------------------------------------------------------------

_NO_SPACE_BEFORE = frozenset(",.;:!?)]}%\"'")
_NO_SPACE_AFTER = frozenset("([{")
_LISTED = frozenset({"infarct", "ST-T", "stage"})
"""Parts whose print-out lists several findings under one heading, a line each."""


class Item(NamedTuple):
    """A piece of the output: a translated phrase, or a token that stays as it is.

    `words` counts the words of the report that it covers, `known` says whether they needed no help.
    """

    text: str
    part: str
    gap: str
    words: int
    known: bool
    phrase: bool


def write(items: list[Item]) -> str:
    """Put items together as English sentences: a finding after a finding starts a new one."""
    leads = [False] * len(items)
    for index in range(len(items) - 2, -1, -1):
        item, follow = items[index], items[index + 1]
        if item.phrase and item.part in MODIFIERS and follow.phrase:
            leads[index] = (follow.part in HEADS and follow.part != "verdict") or leads[index + 1]
    text = items[0].text if items else ""
    for index, (before, item) in enumerate(pairwise(items)):
        text += _joint(before, item, leads[index], leads[index + 1]) + item.text
    return text.strip()


def _joint(before: Item, item: Item, before_leads: bool, leads: bool) -> str:
    """Choose what stands between two items."""
    if item.text in _NO_SPACE_BEFORE or before.text in _NO_SPACE_AFTER:
        return "" if item.gap.strip() == "" or item.text in _NO_SPACE_BEFORE else item.gap
    if item.text.startswith("-"):
        return ""
    open_end = (
        before.part in {"link", "opener"}
        or before_leads
        or before.text in {",", ":", "/", "+", "&", "-"}
    )
    starts = item.phrase and (item.part in HEADS or leads)
    if before.text in SENTENCE_ENDS:
        return " "
    wide = len(item.gap) >= WIDE_GAP
    if starts and not open_end:
        listed = wide and item.part in _LISTED and before.part in _LISTED
        return ", " if listed else ". "
    if wide and item.phrase and not open_end:
        return ", "
    if item.phrase or before.phrase:
        tight = item.gap == "" and (before.text == "/" or item.text == "/")
        return "" if tight else " "
    gap = " ".join(f"|{item.gap}|".split()).strip("|")
    if not set(gap) & set("-–—"):
        return " " if gap else ""
    if gap[0] == gap[-1] == " ":
        return " - "
    return "-" if gap[0] == gap[-1] == "-" else gap


def join_pieces(parts: list[str]) -> str:
    """Join pieces of several languages as sentences."""
    joined = ""
    for part in parts:
        if not part:
            continue
        if joined and joined[-1] not in ".!?;:,(" and part[0] not in ".,;:!?)":
            joined += "."
        joined += (" " if joined and part[0] not in ".,;:!?)" else "") + part
    return joined


# --- the translator ---------------------------------------------------------------------------------------------

_FULL_LENGTH = 200
"""Characters from which a report may have been cut off by the print-out's limit of 255."""
_SHORTEST_WORD = 3
_LONGEST_LINE = 400
_MEMORY = 50_000
"""Lines and repaired words that are remembered."""
_LINE = re.compile(r"\s*\S+(?:(?<![.!?;])\s{1,2}\S+)*")
"""A sentence or a line of the print-out (what stands between wide gaps), with the spaces before it."""


Line = tuple[list[Token], list[tuple[int, str, int]], bool]
"""What is remembered of a line: its tokens, its cuts with their votes, and whether a foreign word is in it."""


@dataclass
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

    english: str = ""
    languages: list[str] = field(default_factory=list)
    words: int = 0
    covered: int = 0
    unmatched: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    changed: bool = False


class Translator:
    """The compiled glossaries, and a memory of repaired words and of English sentences.

    A class, not a function, because compiling takes a tenth of a second and the memory pays.
    """

    def __init__(self, glossaries: dict[str, Glossary], english: frozenset[str]) -> None:
        self.glossaries = glossaries
        self.languages = Languages(glossaries, english)
        shared = self.languages.english | self.languages.neutral
        self._known = {name: glossary.words | shared for name, glossary in glossaries.items()}
        deletes = {name: delete_index(glossary.words) for name, glossary in glossaries.items()}
        # a hostile input must not fill the machine's memory, so these are bounded
        self._nearest = lru_cache(_MEMORY)(lambda language, key: nearest(key, deletes[language]))
        self._read_line = lru_cache(_MEMORY)(self._cut_line)

    def translate(self, text: str) -> Result:
        """Translate a lower-case text without boilerplate."""
        result = Result()
        parts: list[str] = []
        tokens: list[Token] = []
        cuts: list[tuple[int, str, int]] = []
        foreign = False
        for line in _LINE.findall(text):
            read = self._read_line if len(line) <= _LONGEST_LINE else self._cut_line
            line_tokens, line_cuts, line_foreign = read(line)
            tokens += line_tokens
            cuts += line_cuts
            foreign = foreign or line_foreign
        for piece in self.languages.pieces(cuts) if tokens else []:
            own = tokens[piece.start : piece.end]
            language = piece.language if piece.language != "other" else self._by_repair(own)
            result.languages.append(language)
            if language in self.glossaries:
                glossary = self.glossaries[language]
                cut_off = len(text) if piece.end == len(tokens) else 0
                own, repaired = self._prepare(own, glossary, cut_off)
                result.repaired += repaired
                parts.append(self._write(self._items(own, glossary, mixed=False), result))
            elif (
                language == "english"
                and foreign
                and (name := self.languages.foreign_in_english(own))
            ):
                result.languages.append(name)
                items = self._items(own, self.glossaries[name], mixed=True)
                parts.append(self._write(items, result))
            else:
                parts.append(self._keep(own, result))
        result.english = join_pieces(parts)
        result.languages = list(dict.fromkeys(result.languages))
        return result

    def _cut_line(self, line: str) -> Line:
        """Cut a line into tokens, let it vote and look for foreign words; most lines come again and again."""
        tokens = tokenize(line)
        cuts = self.languages.cut(tokens) if tokens else []
        return tokens, cuts, bool(self.languages.foreign_in_english(tokens))

    def _keep(self, tokens: list[Token], result: Result) -> str:
        """Leave a piece as it is, and count what is known of it."""
        for token in tokens:
            if token.words:
                result.words += 1
                if self.languages.knows(token.key):
                    result.covered += 1
                else:
                    result.unmatched.append(token.text)
        return " ".join("".join([token.gap + token.text for token in tokens]).split())

    def _by_repair(self, tokens: list[Token]) -> str:
        """Name the language of a piece of unknown words, if repairing their spelling makes it plain."""
        for name, glossary in self.glossaries.items():
            prepared, _ = self._prepare(tokens, glossary, cut_off=0)
            if any(self.languages.tells(token.key, glossary) for token in prepared):
                return name
        return "other"

    def _write(self, items: list[Item], result: Result) -> str:
        """Write the items and count the words that they cover."""
        result.changed = True
        for item in items:
            result.words += item.words
            if item.known:
                result.covered += item.words
            else:
                result.unmatched.append(item.text)
        return write(items)

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
            correct = self._nearest(glossary.language, token.key)
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

    def _items(self, tokens: list[Token], glossary: Glossary, mixed: bool) -> list[Item]:
        """Match phrases from left to right, the longest at each place."""
        keys = [token.key for token in tokens]
        items: list[Item] = []
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
                items.append(Item(token.text, "", token.gap, token.words, known, False))
                position += 1
                continue
            end, entry, fillings = found
            english = entry.english
            for slot, filling in fillings:
                english = english.replace(f"<{slot}>", filling.english, 1)
            words = sum([one.words for one in tokens[position:end]])
            items.append(Item(english, entry.part, token.gap, words, True, True))
            position = end
        return items
