"""README and ARCHITECTURE say what there is: verbs, options, settings, files, and commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from itertools import groupby
from pathlib import Path

import click
import pytest

from infra.command.main import GROUPS, ticklake
from lake.ingest.request import LIVE_FEEDS
from lake.settings import PREFIX, Settings, variable

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PAGES = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md")
VERBS = [name for verbs in GROUPS.values() for name in verbs]
NOT_FOR_USERS = {"fault_plan"}
"""Settings of our own fault runs."""

LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
QUOTED = re.compile(r"`([^`\n]+)`")
FILE = re.compile(
    r"[\w.-]+(/[\w.-]+)*\.(?:py|md|sql|yaml|toml|txt)"
    r"|(?:lake|infra|tests|benchmarks|warehouse_sql)(/[\w.-]*)+"
)
FOLDERS = ("", "benchmarks", "lake", "lake/ingest", "warehouse_sql/migrations", "tests")
"""Where a file that is named without its folder may lie."""

BLOCK_LINE = re.compile(r"^ {4}(?:\$ )?(?:\.venv/bin/)?(ticklake .*)$", re.MULTILINE)


def test_every_verb_stands_in_the_readme() -> None:
    assert [name for name in VERBS if f"`{name}" not in README] == []


def test_every_feed_stands_in_the_readme() -> None:
    assert [feed for feed in LIVE_FEEDS if f"`{feed}`" not in README] == []


def test_every_setting_stands_in_the_readme_with_its_default_s_row() -> None:
    table = README.partition("## Settings")[2].partition("\n## ")[0]
    known = {each.name for each in fields(Settings)} - NOT_FOR_USERS
    named = {name.lower() for row in table.splitlines() for name in settings_in(row)}
    assert named == known


def settings_in(row: str) -> list[str]:
    """Return the settings that a row of the table is about: the words in its first cell."""
    cells = row.split("|")
    return re.findall(r"`(?:TICKLAKE_)?([A-Z0-9_]+)`", cells[1]) if len(cells) > 2 else []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_or_another_site(page: str) -> None:
    links = LINK.findall((ROOT / page).read_text())
    local = [link for link in links if not link.startswith(("https://", "http://"))]
    assert [link for link in local if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_exists(page: str) -> None:
    named = [word for text in QUOTED.findall((ROOT / page).read_text()) for word in text.split()]
    files = [word for word in named if FILE.fullmatch(word)]
    assert [name for name in files if not exists(name)] == []


def exists(name: str) -> bool:
    """Tell whether a file of this name is there; NAME… stands for its beginning."""
    return any((ROOT / folder / name).exists() for folder in FOLDERS)


def test_every_environment_variable_that_is_named_is_a_setting() -> None:
    known = {variable(each.name) for each in fields(Settings)}
    for page in PAGES:
        named = set(re.findall(rf"\b{PREFIX}[A-Z0-9_]+\b", (ROOT / page).read_text()))
        assert named <= known, page


def commands() -> Iterator[tuple[str, ...]]:
    """Yield the words of every `ticklake ...` in the README's blocks and quotes."""
    quoted = (text for text in QUOTED.findall(README) if text.startswith("ticklake "))
    for text in (*BLOCK_LINE.findall(README), *quoted):
        lexer = shlex.shlex(text, posix=True, punctuation_chars=";&")
        lexer.whitespace_split = True
        for ends, words in groupby(lexer, lambda word: set(word) <= set(";&")):
            if not ends:
                yield tuple(words)


@pytest.mark.parametrize("words", sorted(set(commands())), ids=" ".join)
def test_every_command_of_the_readme_is_one(words: tuple[str, ...]) -> None:
    assert Path(words[0]).name == "ticklake"
    parsed(ticklake, list(words[1:]))


def parsed(command: click.Command, words: list[str]) -> None:
    """Parse words as the command would, its subcommands as well; run nothing."""
    context = command.make_context("ticklake", list(words))
    if isinstance(command, click.Group):
        name, found, rest = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        assert found is not None, name
        parsed(found, rest)


def test_the_readme_tries_every_verb() -> None:
    assert {words[1] for words in commands()} >= set(VERBS)


def test_the_targets_that_are_named_are_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|\$ )make ([a-z]+)\b", README)) <= targets
