"""Words of a question: cut, stemmed, and put beside words that mean the same in a market; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

WORD = re.compile(r"[a-z]+|[0-9]+")
ENDINGS = (
    ("ations", ""),
    ("ation", ""),
    ("ities", ""),
    ("ility", ""),
    ("ity", ""),
    ("ings", ""),
    ("ing", ""),
    ("ies", "y"),
    ("edly", ""),
    ("ed", ""),
    ("es", ""),
    ("ly", ""),
    ("s", ""),
)
"""Ending -> what stands for it, the longest first; STEM_LETTERS_MIN letters stay."""

STEM_LETTERS_MIN = 3
PHRASE_WORDS_MAX = 6
MEANS, OWN = 0.7, 0.5
"""What a word of the same meaning counts beside the word itself; what the own words of a phrase
count beside those that it means."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One word or phrase of a question: stem -> weight of what would do for it."""

    said: str
    terms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """silent: stems that say nothing; means: phrase of stems -> stems of the same meaning.

    words: all of them as they are spelt, with their stems.
    """

    silent: frozenset[str]
    means: Mapping[tuple[str, ...], tuple[str, ...]]
    words: Mapping[str, str]


def stem(word: str) -> str:
    """Return a word without its ending; a rule for English that only has to be the same always."""
    for ending, instead in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) + len(instead) >= STEM_LETTERS_MIN:
            if word.endswith("ss"):
                break
            word = word[: len(word) - len(ending)] + instead
            break
    if len(word) > STEM_LETTERS_MIN and word[-1] == "e":
        word = word[:-1]
    doubled = len(word) > STEM_LETTERS_MIN and word[-1] == word[-2] and word[-1] not in "ls"
    return word[:-1] if doubled else word


def spelt(text: str) -> list[str]:
    """Return the words of a text, or of a name with underscores, in their order."""
    return WORD.findall(text.lower())


def stems(text: str) -> list[str]:
    """Return their stems."""
    return [stem(word) for word in spelt(text)]


@cache
def vocabulary() -> Vocabulary:
    """Return the words kept beside this module."""
    text = files("serving.search").joinpath("words.yaml").read_text(encoding="utf-8")
    return parse(text)


def parse(text: str) -> Vocabulary:
    """Return the vocabulary of a file: lists `silent`, `same` and `asks`, phrases by commas."""
    document = yaml.safe_load(text)
    means: dict[tuple[str, ...], dict[str, None]] = {}
    for line in document["same"]:
        phrases = [tuple(stems(phrase)) for phrase in line.split(",")]
        single = [phrase[0] for phrase in phrases if len(phrase) == 1]
        for phrase in phrases:
            means.setdefault(phrase, {}).update(dict.fromkeys(single))
    for asked, line in document["asks"].items():
        for phrase in asked.split(","):
            found = means.setdefault(tuple(stems(phrase)), {})
            found.update(dict.fromkeys(stems(line)))
    silent = frozenset(each for line in document["silent"] for each in stems(line))
    words = {word: stem(word) for word in spelt(text)}
    return Vocabulary(silent, {phrase: tuple(each) for phrase, each in means.items()}, words)


def wanted(said: Sequence[str], known: Vocabulary) -> Iterator[Wanted]:
    """Yield what the stems of a question ask for: the longest phrases known, then single words."""
    place = 0
    while place < len(said):
        phrase = _phrase(said[place:], known)
        if len(phrase) > 1:
            own = {each: OWN for each in phrase if each not in known.silent}
            yield Wanted(" ".join(phrase), {**own, **dict.fromkeys(known.means[phrase], 1.0)})
        elif phrase in known.means or said[place] not in known.silent:
            others = dict.fromkeys(known.means.get(phrase, ()), MEANS)
            yield Wanted(said[place], {**others, said[place]: 1.0})
        place += len(phrase)


def _phrase(said: Sequence[str], known: Vocabulary) -> tuple[str, ...]:
    for length in range(min(PHRASE_WORDS_MAX, len(said)), 1, -1):
        if tuple(said[:length]) in known.means:
            return tuple(said[:length])
    return (said[0],)
