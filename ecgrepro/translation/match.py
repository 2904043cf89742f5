"""Find the longest glossary phrase at a place of a text."""

from ecgrepro.translation.glossary import Entry, Glossary, Node


def reads_as_in(keys: list[str], position: int, end: int) -> bool:
    """Tell the Swedish 'i' (in) from the lead I: only the word is followed by what it points at."""
    if end > position + 1:
        return True
    follows = keys[position + 1] if position + 1 < len(keys) else ""
    before = keys[position - 1] if position else ""
    return (
        bool(follows)
        and follows[0].isalpha()
        and before not in {"och", ",", "avl", "avf", "avr", "block"}
    )


Fillings = tuple[tuple[str, Entry], ...]
"""Slots of a phrase, in order, with what fills them."""
Found = tuple[int, Entry, Fillings]
"""Where a phrase ends, its entry, its fillings."""


def longest(glossary: Glossary, keys: list[str], position: int) -> Found | None:
    """Find the longest entry that starts here; a literal word comes before a slot of the same length."""
    best: Found | None = None
    reached = 0
    length = len(keys)
    waiting: list[tuple[Node, int, Fillings]] = [(glossary.root, position, ())]
    while waiting:
        node, at, fillings = waiting.pop()
        while True:
            if node.entry is not None and at > reached:
                best, reached = (at, node.entry, fillings), at
            if at >= length:
                break
            key = keys[at]
            if key == "." and at > position and "." not in node.words:
                at += 1  # the full stop of an abbreviation, only where the phrase goes on
                if at >= length:
                    break
                key = keys[at]
            for slot, follow in node.slots.items():
                if key in glossary.classes[slot].words:
                    for end, filling in class_matches(glossary.classes[slot], keys, at):
                        waiting.append((follow, end, (*fillings, (slot, filling))))
            child = node.words.get(key)
            if child is None:
                break
            node, at = child, at + 1
    if best is None:
        return None
    end, entry, fillings = best
    last = fillings[-1][1] if fillings and entry.source.endswith(">") else entry
    if last.source.endswith(".") and end < len(keys) and keys[end] == ".":
        end += 1  # the full stop belongs to the abbreviation
    return end, entry, fillings


def class_matches(root: Node, keys: list[str], at: int) -> list[tuple[int, Entry]]:
    """List every entry of a slot's class that starts here."""
    matches: list[tuple[int, Entry]] = []
    node: Node | None = root
    while node is not None and at < len(keys):
        if keys[at] == "." and node is not root and "." not in node.words:
            at += 1
            continue
        node = node.words.get(keys[at])
        at += 1
        if node is not None and node.entry is not None:
            matches.append((at, node.entry))
    return matches[::-1]
