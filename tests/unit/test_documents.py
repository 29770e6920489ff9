"""The documents hold together: links lead somewhere, what is not run says why, and what they name exists."""

from __future__ import annotations

import re
import shlex

import click
import pytest
import yaml

from mtr.cli.app import VERBS, load_verb
from mtr.command_line import OWN_WORDS, parse_arguments
from tests.lab.documents import CHECKOUT, LANGUAGES, Page, find_pages, make_anchor
from tests.lab.reader import check_configuration

PAGES = find_pages()
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
READMES = [Page(CHECKOUT / name) for name in ("README.md", "README.zh.md")]

HOW = {"setup", "file", "status", "terminal", "shows", "types"}

REASONS = {"needs the network", "needs an editor with a window"}
"""Why a block is not run: there is no other reason."""

_PLACEHOLDER = re.compile(r"…|\.\.\.|\[|\]")
_COMMAND = re.compile(r"\bCMD\b.*")


@EACH_PAGE
def test_what_is_not_run_says_why(page: Page) -> None:
    """Each block has a language, and one that is not run has one of a few reasons."""
    for block in page.blocks:
        assert block.language in LANGUAGES, block
        assert not set(block.how) - HOW, block
        assert not block.reason or block.reason in REASONS, block


def test_nothing_hides_in_text() -> None:
    """What is shown as text, and so not run, holds no command."""
    shown = [
        (block, line)
        for page in PAGES
        for block in page.blocks
        if block.language == "text"
        for line in block.text.splitlines()
    ]
    assert [f"{block}: {line}" for block, line in shown if re.match(r"\$ |mtr |ssh |git ", line)] == []


def test_few_blocks_are_not_run() -> None:
    """Nine of ten that could be run are."""
    blocks = [block for page in PAGES for block in page.blocks if block.language != "text"]
    assert len([block for block in blocks if block.reason]) * 10 < len(blocks)


@EACH_PAGE
def test_every_configuration_is_one(page: Page) -> None:
    """What is shown as a configuration is valid by mtr's own schema."""
    for block in page.blocks:
        if block.language == "yaml":
            check_configuration(block)


@EACH_PAGE
def test_every_link_leads_somewhere(page: Page) -> None:
    """Links within the repository lead to a file that is there, and to a heading that it has."""
    for link in page.links:
        target, _, anchor = link.partition("#")
        if target.startswith("https://"):
            continue
        path = (page.path.parent / target).resolve() if target else page.path
        assert path.exists(), f"{page.name}: {link}"
        assert path.is_relative_to(CHECKOUT), f"{page.name}: {link}"
        assert not anchor or anchor in Page(path).anchors, f"{page.name}: {link}"


def test_every_page_is_in_the_index() -> None:
    """docs/README.md leads to every page below it, and to every example."""
    index = Page(CHECKOUT / "docs" / "README.md")
    linked = {(index.path.parent / link.partition("#")[0]).resolve() for link in index.links}
    wanted = {page.path for page in PAGES if page.path.parts[len(CHECKOUT.parts)] in ("docs", "examples")}
    assert sorted(map(str, wanted - linked - {index.path})) == []


@EACH_PAGE
def test_what_stands_in_backticks_exists(page: Page) -> None:
    """`mtr …` in the prose is a command line that mtr takes: verbs and options of this version, and no other."""
    for span in page.spans:
        if span.startswith("mtr "):
            ensure_taken(span, page)


def ensure_taken(span: str, page: Page) -> None:
    """Parse ``span`` as mtr would; AssertionError names a verb or an option that is not there."""
    words = shlex.split(_PLACEHOLDER.sub(" ", _COMMAND.sub("true", span)), comments=False)
    invocation = parse_arguments(words[1:])
    if invocation.own_word is None:
        return
    assert invocation.own_word in VERBS, f"{page.name}: `{span}` is not part of this version"
    command: click.Command = load_verb(invocation.own_word)
    rest = invocation.words[1:]
    while isinstance(command, click.Group) and rest and rest[0] in command.commands:
        command, rest = command.commands[rest[0]], rest[1:]
    flags = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    asked = {word.partition("=")[0] for word in rest if word.startswith("-")}
    assert not asked - flags - {"--help", "-h", "--", "--version"}, f"{page.name}: `{span}`"


@pytest.mark.parametrize("page", READMES, ids=lambda page: page.name)
def test_a_readme_names_every_verb(page: Page) -> None:
    """The table of a README has a row for each verb, and none for what is still to come."""
    rows = "\n".join(line for line in page.prose.splitlines() if line.startswith("| `mtr"))
    named = set(re.findall(r"`mtr ([a-z-]+)", rows))
    assert named - {"run"} == set(VERBS) - {"run"}
    assert not named & (OWN_WORDS - set(VERBS))


def test_both_readmes_show_the_same() -> None:
    """The same commands, programs and configurations, less the comments in them, and the same figures."""
    english, chinese = ([(b.language, strip_comments(b.text)) for b in page.blocks] for page in READMES)
    assert english == chinese


def strip_comments(text: str) -> list[str]:
    """Return the lines of ``text`` without comments at their end."""
    return [re.sub(r"\s+#\s.*$", "", line) for line in text.splitlines() if not line.startswith("#")]


def test_the_skill_says_what_it_is_for() -> None:
    """Its front matter is what agents choose by: the name of its folder, and when to use it."""
    _, front, text = (CHECKOUT / "examples" / "agents" / "SKILL.md").read_text(encoding="utf-8").split("---\n", 2)
    found = yaml.safe_load(front)
    assert set(found) == {"name", "description"}
    assert re.fullmatch(r"[a-z0-9-]{1,64}", found["name"])
    assert 20 < len(found["description"]) < 1024
    assert f"`{found['name']}/`" in (CHECKOUT / "examples" / "agents" / "README.md").read_text(encoding="utf-8")
    assert text.lstrip().startswith("# ")


def test_the_workflow_calls_the_script() -> None:
    """With the variables that the script takes."""
    folder = CHECKOUT / "examples" / "ci"
    (job,) = yaml.safe_load((folder / "workflow.yaml").read_text(encoding="utf-8"))["jobs"].values()
    (step,) = [step for step in job["steps"] if "run-on-server" in step.get("run", "")]
    script = (folder / "run-on-server").read_text(encoding="utf-8")
    assert set(step["env"]) == set(re.findall(r'"\$(DEPLOY_\w+)"', script))


def test_anchors_are_those_of_code_hosts() -> None:
    """Lower case, no punctuation, hyphens for blanks; other letters stay."""
    assert make_anchor("What is synced, and `why`?") == "what-is-synced-and-why"
    assert make_anchor("快速开始") == "快速开始"
