"""Progress belongs on a terminal, not among the outputs of a page."""

import os

import pytest

from ecgrepro.progress import line_reporter, progress_bar


def test_lines_are_printed_where_nothing_else_is_said(monkeypatch, capsys):
    monkeypatch.delenv("ECGREPRO_PROGRESS", raising=False)
    line_reporter("aligned")("epoch 1")
    assert capsys.readouterr().out == "aligned: epoch 1\n"


def test_lines_go_to_the_terminal_that_make_names(monkeypatch, capsys):
    reader, writer = os.openpty()
    monkeypatch.setenv("ECGREPRO_PROGRESS", os.ttyname(writer))
    line_reporter("aligned")("epoch 1")
    assert os.read(reader, 100) == b"aligned: epoch 1\r\n"
    assert capsys.readouterr().out == ""
    os.close(writer)
    os.close(reader)


@pytest.mark.parametrize("device", ["none", "", "not a tty"])
def test_lines_go_nowhere_without_a_terminal(device, monkeypatch, capfd):
    monkeypatch.setenv("ECGREPRO_PROGRESS", device)
    line_reporter("aligned")("epoch 1")
    assert capfd.readouterr() == ("", "")


def test_bar_is_silent_without_a_terminal(capfd):
    with progress_bar(3, "pack", "record") as bar:
        bar.update(3)
    assert capfd.readouterr() == ("", "")
