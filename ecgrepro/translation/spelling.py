"""Repair a word: a letter too many or too few, a lost space, a word cut off at the end of a report."""

from bisect import bisect_left

from ecgrepro.translation.glossary import Glossary
from ecgrepro.translation.match import longest
from ecgrepro.translation.normalize import Token

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
    best: dict[int, dict[str, str]] = {}
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
    if 9 <= len(key) <= 60:
        for cut in range(4, len(key) - 3):
            if key[:cut] in glossary.words and key[cut:] in glossary.words:
                middle = max(
                    1, len(token.text) - (len(key) - cut)
                )  # an umlaut more or less does not matter
                return [
                    Token(key[:cut], token.gap, token.text[:middle], 1),
                    Token(
                        key[cut:], " ", token.text[middle:], 0
                    ),  # one word of the report, counted once
                ]
    return [token]
