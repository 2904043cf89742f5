"""Figures of the translation chapter: they draw what they are given, and refuse what they cannot draw."""

import pandas as pd
import pytest

from ecgrepro.errors import InputError
from ecgrepro.plots import plot_agreement, plot_vocabulary


def test_vocabulary_states_the_share_of_the_commonest() -> None:
    german = [300] + [7] * 100  # of 1,000 words
    fig = plot_vocabulary({"german": german, "swedish": [5]}, "Simulated data")
    texts = [text.get_text() for text in fig.axes[0].texts]
    assert texts[0] == "german: 101 words, 99 % by 100"
    assert texts[1] == "swedish: 1 words"  # a mark beyond the vocabulary is not stated
    line = fig.axes[0].lines[0]
    assert line.get_ydata()[[0, 1, -1]] == pytest.approx([30, 30.7, 100])


def test_agreement_draws_the_commonest_codes_of_all_languages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ecgrepro.plots.text.MOST", 2)
    tables = {
        "german": pd.DataFrame({"records": [90, 10], "recall": [1.0, 0.5]}, index=["SR", "IMI"]),
        "english": pd.DataFrame({"records": [30, 20], "recall": [0.9, 0.4]}, index=["IMI", "LVH"]),
    }
    fig = plot_agreement(tables, "Simulated data")
    ax = fig.axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["SR (90)", "IMI (40)"]
    assert [list(line.get_xdata()) for line in ax.lines] == [[100, 50], [90]]


def test_figures_refuse_what_they_cannot_draw() -> None:
    with pytest.raises(InputError, match="at least one language"):
        plot_vocabulary({}, "Simulated data")
    with pytest.raises(InputError, match="no word"):
        plot_vocabulary({"german": []}, "Simulated data")
    with pytest.raises(InputError, match="at least one language"):
        plot_agreement({}, "Simulated data")
    with pytest.raises(InputError, match="recall"):
        plot_agreement({"german": pd.DataFrame({"records": [1]})}, "Simulated data")
    with pytest.raises(InputError, match="source is empty"):
        plot_vocabulary({"german": [1]}, " ")
