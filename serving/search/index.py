"""An index of entries in memory: BM25 over names, texts and surroundings; pure.

A word of the question counts once an entry, by the best of the words that would do for it, so that
a thing which says the same thrice does not win by that. A word that nobody knows is taken for the
one that it is nearest to by its letters.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from serving.search.entry import Entry, Found, Kind
from serving.search.words import Vocabulary, Wanted, spelt, stem, stems, wanted

NAME, TEXT, MORE = 2.5, 1.0, 0.3
"""What a word counts in an entry's name, in its text, in the words around it."""

SATURATION, LENGTH = 1.2, 0.5
"""BM25's k1 and b."""

NEAR, NEAR_LETTERS_MIN = 0.8, 5
"""How alike the letters of a word must be that is taken for another, and how many it must have."""

BESIDE = 0.3
"""What another word of the same meaning counts, beside the best."""

WHOLE = 1.2
"""What a dataset counts beside a column of it that says as much."""

QUESTION_CHARACTERS_MAX = 200
WORDS_MAX = 30


class Index:
    """Entries, ready to be asked."""

    def __init__(self, entries: Sequence[Entry], known: Vocabulary) -> None:
        self._entries = entries
        self._known = known
        texts = (text for each in entries for text in (each.name, each.text, each.more))
        words = {word for text in texts for word in spelt(text)}
        self._stems = {**known.words, **{word: stem(word) for word in words}}
        self._spelt = frozenset(self._stems.values())
        counts = [_counts(each) for each in entries]
        lengths = [len(stems(f"{each.name} {each.text}")) for each in entries]
        mean = sum(lengths) / max(1, len(lengths))
        has = Counter(term for each in counts for term in each)
        self._weights: defaultdict[str, dict[int, float]] = defaultdict(dict)
        for i, each in enumerate(counts):
            norm = SATURATION * (1 - LENGTH + LENGTH * lengths[i] / mean)
            for term, count in each.items():
                rare = math.log(1 + (len(entries) - has[term] + 0.5) / (has[term] + 0.5))
                self._weights[term][i] = rare * count * (SATURATION + 1) / (count + norm)

    def __len__(self) -> int:
        return len(self._entries)

    def ask(self, question: str, limit: int, kinds: Sequence[Kind] = ()) -> list[Found]:
        """Return the best entries of these kinds, none: of all; the best first, `limit` at most.

        The question's first QUESTION_CHARACTERS_MAX characters and WORDS_MAX words count.
        """
        said = [self._stem(word) for word in spelt(question[:QUESTION_CHARACTERS_MAX])]
        words = list(wanted(said[:WORDS_MAX], self._known))
        words = words or [Wanted(word, {word: 1.0}) for word in said[:WORDS_MAX]]
        scores: defaultdict[int, float] = defaultdict(float)
        because: defaultdict[int, list[tuple[str, str]]] = defaultdict(list)
        for word in words:
            for i, (score, term) in self._best(word).items():
                scores[i] += score
                because[i].append((word.said, term))
        named = tuple(said)
        found = [
            Found(entry, _score(entry, scores[i], len(because[i]) / len(words)), tuple(because[i]))
            for i, entry in enumerate(self._entries)
            if i in scores and (not kinds or entry.kind in kinds)
        ]
        return sorted(found, key=lambda each: _rank(each, named))[:limit]

    def _best(self, word: Wanted) -> Mapping[int, tuple[float, str]]:
        """Return by entry what a word of the question gives it, and by which term."""
        best: dict[int, tuple[float, str]] = {}
        for term, weight in word.terms.items():
            for i, score in self._weights.get(term, {}).items():
                first, second = sorted(
                    (best.get(i, (0.0, "")), (weight * score, term)), reverse=True
                )
                best[i] = first[0] + BESIDE * second[0], first[1]
        return best

    def _stem(self, word: str) -> str:
        """Return the stem of a word, or of the one that it was meant to be."""
        found = stem(word)
        if found in self._spelt or len(word) < NEAR_LETTERS_MIN:
            return found
        near = difflib.get_close_matches(word, self._stems, 1, NEAR)
        return self._stems[near[0]] if near else found


def _rank(found: Found, said: tuple[str, ...]) -> tuple[int, float, str]:
    """Return what puts what was found in order: what was asked for by its name comes first."""
    name = found.entry.name
    names = [tuple(stems(each)) for each in (name, name.rpartition(".")[2])]
    place = names.index(said) if said in names else len(names)
    return place, -found.score, name


def _score(entry: Entry, score: float, part: float) -> float:
    """Return what an entry is worth that has this part of the question's words."""
    return score * part * (WHOLE if entry.kind == "dataset" else 1.0)


def _counts(entry: Entry) -> Counter[str]:
    """Return how often an entry says each stem, weighed by where."""
    counts: Counter[str] = Counter()
    for text, weight in ((entry.name, NAME), (entry.text, TEXT), (entry.more, MORE)):
        for term in stems(text):
            counts[term] += weight  # type: ignore[assignment]
    return counts
