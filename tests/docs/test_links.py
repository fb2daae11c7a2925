"""No link of the documentation is dead: every file is there, and every page has the heading that is pointed to."""

import re
from pathlib import Path

import pytest

from docs_site import links

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "k8s/README.md",
    ROOT / "lstm/example/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    assert links.dead(page, ROOT) == []


def test_links_are_found() -> None:
    """Also where several stand in a line, one is a picture in a link, or one is of code."""
    text = "[a](x.md) and [`b`](y.md#z) ![c](p.png) [![d](q.png)](r.md) [site](https://example.org)\n"
    code = "`[no](n.md)`\n```\n[no](n.md)\n```\n    [no](n.md)\n"
    assert sorted(set(links.targets(text + code))) == ["p.png", "q.png", "r.md", "x.md", "y.md#z"]


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# One\n## What `x.y` is, and why\n## One\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md) [b](there.md#what-xy-is-and-why) [c](there.md#one-1) [d](gone.md) [e](there.md#two) [f](#here)\n"
        "[g](../outside.md)\n# Here\n"
    )
    assert links.dead(page, tmp_path) == ["gone.md", "there.md#two", "../outside.md"]


def test_no_page_has_a_path_of_a_machine() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert "/work/" not in text and "/home/" not in text and "/root/" not in text, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_link_stands_on_one_line(page: Path) -> None:
    """Lines are what docs_site/links.py reads."""
    split = re.compile(r"\[[^\]\[\n`]*\n[^\]\[`]*\]\([^)]*\)")
    assert split.findall(page.read_text(encoding="utf-8")) == []
