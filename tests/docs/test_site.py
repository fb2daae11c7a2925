"""The site: its navigation has every page, it builds without a warning, and no link of what is built is dead."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from docs_site.assemble import PAGES, Site
from docs_site.python_markdown import converted

ROOT = Path(__file__).parents[2]
CONFIG = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


class Page(HTMLParser):
    """Links and anchors of a built page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value and tag != "link":
                self.links.append(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly as `make docs` does, in a folder of its own."""
    zensical = Path(sys.executable).with_name("zensical")
    if not zensical.exists():
        pytest.skip("the extra docs is not installed: make setup-dev")
    root = tmp_path_factory.mktemp("project")
    Site(root / "build/site_source").make()
    (root / "mkdocs.yml").write_text(CONFIG)
    done = subprocess.run(
        [str(zensical), "build", "--strict", "--config-file", "mkdocs.yml"], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout + done.stderr
    return root / "site"


def test_no_link_of_the_site_is_dead(built: Path) -> None:
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in built.rglob("*.html")}
    assert len(pages) > 60
    dead = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = there / "index.html" if there.is_dir() else there
            anchor = unquote(parts.fragment)
            known = pages[there].anchors if there in pages else {anchor}
            if not there.exists() or (anchor and anchor not in known and not anchor.startswith("__")):
                dead.append(f"{path.relative_to(built)}: {link}")
    assert dead == []


def test_no_markdown_is_left(built: Path) -> None:
    """Lists, tables and fences that the generator did not read as such."""
    left = []
    for path in built.rglob("*.html"):
        article = re.search(r"<article.*?</article>", path.read_text(encoding="utf-8"), re.DOTALL)
        text = re.sub(r"<(pre|code)\b.*?</\1>", "", article[0] if article else "", flags=re.DOTALL)
        shown = re.sub(r"<[^>]+>", "", text)
        left += [f"{path.name}: {line}" for line in shown.splitlines() if re.match(r"- |\|.*\||```|#+ ", line)]
    assert left == []


def test_what_readers_see_can_be_searched_and_be_dark(built: Path) -> None:
    assert (built / "search.json").stat().st_size > 100_000
    index = (built / "index.html").read_text(encoding="utf-8")
    assert 'data-md-color-scheme="slate"' in index and "fonts.googleapis" not in index


def nav(entry: Any) -> list[str]:
    """The pages of a navigation."""
    if isinstance(entry, dict):
        return nav(list(entry.values()))
    return [page for part in entry for page in nav(part)] if isinstance(entry, list) else [entry]


def test_every_page_is_in_the_navigation() -> None:
    """But for decisions and the LSTM's series, which other pages lead to."""
    listed = nav(yaml.safe_load(re.sub(r"!!python\S+", "", CONFIG))["nav"])
    pages = {PAGES.get(f"docs/{name}", name) for name in pages_of_docs()} | set(PAGES.values())
    apart = {page for page in pages if page.startswith("decisions/0")} | {"lstm_series.md"}
    assert set(listed) == pages - apart
    assert len(listed) == len(set(listed))


def test_a_tab_leads_to_the_first_page_of_its_part(built: Path) -> None:
    entries = yaml.safe_load(re.sub(r"!!python\S+", "", CONFIG))["nav"]
    index = (built / "index.html").read_text(encoding="utf-8")
    tabs = re.findall(r'<a href="(?:\./)?([^"]*)\.html" class="md-tabs__link">', index)
    assert tabs == [nav(entry)[0].removesuffix(".md") for entry in entries]


def pages_of_docs() -> list[str]:
    return [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]


def test_markdown_is_brought_to_the_generators_form() -> None:
    page = (
        "text\n- one\n  more\n  - below\n- two\nlazy\n\n## Head\ntext\n1. first\n\n"
        "   ```sh\n   x\n     y\n   ```\n2. next\n"
    )
    assert converted(page) == (
        "text\n\n- one\n    more\n    - below\n- two\n    lazy\n\n## Head\ntext\n\n1. first\n\n"
        "    ```sh\n    x\n      y\n    ```\n2. next\n"
    )


def test_tables_stand_apart() -> None:
    assert converted("text\n| a |\n|---|\n| b |\nmore\n") == "text\n\n| a |\n|---|\n| b |\n\nmore\n"


def test_bars_in_the_code_of_a_cell_have_no_backslash() -> None:
    page = "| `a\\|b` | ``c\\|`d`` | e\\|f |\n|---|---|---|\n"
    assert converted(page) == "| `a|b` | ``c|`d`` | e\\|f |\n|---|---|---|\n"
