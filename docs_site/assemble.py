"""Puts the site's sources together, for the generator: python -m docs_site.assemble [FOLDER]

Pages of docs/ link to files of the whole project (../results/..., ../apex_ray/....py), which a code host shows and the
generator does not: it knows one folder. So this makes one, build/site_source: docs/ as it is, a few pages from
elsewhere (PAGES), and below files/ what any page links to besides, with links that lead there.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from docs_site import links
from docs_site.python_markdown import converted

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "site_source"
STYLE = Path(__file__).with_name("site.css")
# Pages that do not lie in docs/, or are called something else on the site.
PAGES = {
    "README.md": "readme.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "k8s/README.md": "kubernetes.md",
    "lstm/example/README.md": "lstm_series.md",
    "docs/decisions/README.md": "decisions/index.md",
}
# What a file is shown as: a page with its text. Others are handed out as they are.
LANGUAGES = {".py": "python", ".yaml": "yaml", ".sh": "bash", ".s": "text", ".txt": "text", ".csv": "", ".json": ""}
SHOWN = {suffix for suffix, language in LANGUAGES.items() if language}
# A page that is a file's text is not worth a hit in the search.
HIDDEN = "---\nsearch:\n  exclude: true\n---\n"


class Site:
    """The folder being made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places: dict[Path, str] = {}  # of a file or folder of the project: where it is in `folder`

    def make(self) -> None:
        if self._folder.exists():
            shutil.rmtree(self._folder)
        pages = {ROOT / source: place for source, place in PAGES.items()}
        for page in sorted((ROOT / "docs").rglob("*.md")):
            pages.setdefault(page, page.relative_to(ROOT / "docs").as_posix())
        self._copy(STYLE, STYLE.name)
        self._places.update(pages)
        self._places[ROOT / "docs" / "decisions"] = "decisions/index.md"
        self._places[ROOT / "k8s"] = "kubernetes.md"
        for page, place in pages.items():
            self._write(place, self._page(page, place))

    def _page(self, page: Path, place: str) -> str:
        """A page's text with its links leading to where things are in the folder."""

        def change(target: str) -> str:
            path, hash_, anchor = target.partition("#")
            if not path:
                return target
            found = (page.parent / path).resolve()
            return _relative(self._place(found), place) + hash_ + anchor

        text = page.read_text(encoding="utf-8")
        changed = [line.text if line.code else links.rewritten(line.text, change) for line in links.lines(text)]
        return converted("\n".join(changed))

    def _place(self, file: Path) -> str:
        """Where a linked file or folder is, put there if it was not."""
        if file not in self._places:
            name = file.relative_to(ROOT).as_posix()
            if file.is_dir():
                self._places[file] = f"files/{name}/index.md"
                self._write(f"files/{name}/index.md", self._listing(file, name))
            elif file.suffix in SHOWN:
                self._places[file] = f"files/{name}.md"
                self._write(f"files/{name}.md", _shown(file, name))
            else:
                inside = ROOT / "docs" in file.parents
                self._places[file] = file.relative_to(ROOT / "docs").as_posix() if inside else f"files/{name}"
                self._copy(file, self._places[file])
        return self._places[file]

    def _listing(self, folder: Path, name: str) -> str:
        """A page that lists the files of a folder, folders below it too."""
        rows = []
        for file in sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
            shown = file.relative_to(folder).as_posix()
            link = _relative(self._place(file), f"files/{name}/index.md")
            rows.append(f"| [{shown}]({link}) | {file.stat().st_size:,} |")
        return HIDDEN + f"# {name}\n\n| file | bytes |\n|---|---|\n" + "\n".join(rows) + "\n"

    def _write(self, place: str, text: str) -> None:
        path = self._folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _copy(self, file: Path, place: str) -> None:
        path = self._folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, path)


def _shown(file: Path, name: str) -> str:
    """A page with a file's text."""
    text = file.read_text(encoding="utf-8", errors="replace")
    return HIDDEN + f"# {name}\n\n````{LANGUAGES[file.suffix]}\n{text.rstrip()}\n````\n"


def _relative(place: str, page: str) -> str:
    """The link from `page` to `place`, both in the folder."""
    here, there = Path(page).parent.parts, Path(place).parts
    same = 0
    while same < min(len(here), len(there) - 1) and here[same] == there[same]:
        same += 1
    return "/".join([".."] * (len(here) - same) + list(there[same:]))


def main() -> None:
    folder = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else FOLDER
    Site(folder).make()
    print(f"{folder}: {sum(1 for path in folder.rglob('*') if path.is_file())} files")


if __name__ == "__main__":
    main()
