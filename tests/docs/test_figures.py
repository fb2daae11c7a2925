"""Figures in README and docs equal those in results/."""

import pytest

from tests.docs.figures import ROOT, Figure, table


@pytest.mark.parametrize("figure", table(), ids=str)
def test_a_figure_is_that_of_the_results(figure: Figure) -> None:
    text = " ".join((ROOT / figure.page).read_text(encoding="utf-8").split())
    found = figure.pattern.search(text)
    assert found, "its words are no longer there: change them in tests/docs/figures.txt too"
    assert list(found.groups()) == figure.values, figure.results


def test_a_wrong_figure_is_found() -> None:
    first = table()[0]
    text = " ".join((ROOT / first.page).read_text(encoding="utf-8").split())
    found = first.pattern.search(text.replace("20.3 of 21", "20.4 of 21"))
    assert found and list(found.groups()) != first.values
