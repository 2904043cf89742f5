"""The run folder: names, ownership, trials, provenance."""

from pathlib import Path

import pytest

from ecgrepro import parameters, runs
from ecgrepro.errors import InputError
from ecgrepro.files import read_json, sha256_file


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one tiny chapter and one profile."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "profiles").mkdir()
    (tmp_path / "notebooks" / "01_data.py").write_text(
        '# %% tags=["parameters"]\nrun = "demo"  # run\nepochs = 20  # epochs\nrate = 100  # Hz\n\n# %%\nx = 1\n'
    )
    (tmp_path / "profiles" / "demo.yaml").write_text("# defaults\n")
    (tmp_path / "profiles" / "smoke.yaml").write_text("01_data: {epochs: 1}\n")
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    monkeypatch.setattr(parameters, "ROOT", tmp_path)
    return tmp_path


def names(**values):
    return {"run": "demo", "epochs": 20, "rate": 100} | values


def test_results_of_the_run_go_to_the_run(root, capsys):
    chapter = runs.start("01_data", names())
    assert chapter.output == root / "runs" / "demo"
    assert capsys.readouterr().out == ""


def test_other_parameters_go_to_a_trial_and_read_from_the_run(root, capsys):
    (root / "runs/demo/packed").mkdir(parents=True)
    (root / "runs/demo/packed/packed.json").write_text("{}")
    chapter = runs.start("01_data", names(epochs=5))
    assert chapter.output.parent == root / "runs" / "demo" / "trials"
    assert "epochs" in capsys.readouterr().out
    chapter.chapter = (
        "02_structured_reports"  # what another chapter made is read from the run itself
    )
    assert chapter.read("packed") == root / "runs/demo/packed/packed.json"


def test_two_trials_never_share_a_folder(root):
    one = runs.start("01_data", names(epochs=5)).output
    other = runs.start("01_data", names(epochs=6)).output
    assert one != other


def test_missing_artefact_names_the_command_that_makes_it(root):
    chapter = runs.start("01_data", names())
    chapter.chapter = "06_alignment"
    with pytest.raises(
        InputError, match=r"z_text\.npy is missing: `make needs CHAPTER=06_alignment RUN=demo`"
    ):
        chapter.read("z_text")


def test_a_chapter_writes_only_what_it_owns(root):
    chapter = runs.start("01_data", names())
    with pytest.raises(InputError, match="may not write"):
        chapter.write("z_ecg")
    with pytest.raises(InputError, match="no artefact"):
        chapter.write("z_egc")


@pytest.mark.parametrize(("typed", "meant"), [("epoch", "epochs"), ("ratee", "rate")])
def test_mistyped_parameter_is_refused_with_the_near_match(root, typed, meant):
    history = ["", 'run = "demo"', f"# Parameters\n{typed} = 5\n"]
    with pytest.raises(InputError, match=f"no parameter '{typed}': did you mean {meant}"):
        runs.start("01_data", names(In=history))


def test_injected_parameters_that_exist_pass(root):
    runs.start("01_data", names(epochs=5, In=["# Parameters\nepochs = 5\n", "y = epoch = 3"]))


def test_error_is_shown_as_one_line():
    assert InputError("a is missing")._render_traceback_() == ["InputError: a is missing"]


def test_unknown_profile_and_parameter_are_refused(root):
    with pytest.raises(InputError, match="no profile 'dmo'"):
        parameters.prepare_run("dmo", {}, ("01_data",))
    with pytest.raises(InputError, match="no parameter 'epoch'"):
        parameters.prepare_run("demo", {"epoch": 3}, ("01_data",))
    (root / "profiles" / "bad.yaml").write_text("01_data: {epoch: 1}\n")
    with pytest.raises(InputError, match=r"profiles/bad\.yaml has no parameter 'epoch'"):
        parameters.profile_parameters("bad")


def test_prepare_run_writes_what_papermill_gets_and_touches_nothing_twice(root):
    assert parameters.prepare_run("smoke", {"epochs": ""}, ("01_data",)) == "smoke"
    path = root / "runs/smoke/parameters/01_data.yaml"
    assert path.read_text() == "epochs: 1\nrate: 100\nrun: smoke\n"
    before = path.stat().st_mtime_ns
    parameters.prepare_run("smoke", {}, ("01_data",))
    assert path.stat().st_mtime_ns == before


def test_overrides_make_a_run_of_their_own(root):
    run = parameters.prepare_run("demo", {"rate": 500}, ("01_data",))
    assert run == "demo-500"
    assert parameters.effective_parameters("01_data", run)["rate"] == 500
    chapter = runs.start("01_data", names(run=run, rate="500"))
    assert chapter.output == root / "runs" / "demo-500"
    assert parameters.prepare_run("demo", {}, ("01_data",), run=run) == run
    assert parameters.effective_parameters("01_data", run)["rate"] == 500


def test_provenance_names_code_data_and_parameters(root):
    chapter = runs.start("01_data", names())
    chapter.write("release").write_text('{"source": "Simulated data"}')
    record = chapter.finish()
    stored = read_json(root / "runs/demo/provenance/01_data.json")
    assert stored == record
    assert stored["parameters"] == {"run": "demo", "epochs": 20, "rate": 100}
    assert stored["outputs"]["release"]["sha256"] == sha256_file(root / "runs/demo/release.json")
    assert {"commit", "packages", "device"} <= set(stored["environment"])


def test_an_output_that_was_announced_but_never_written_is_an_error(root):
    chapter = runs.start("01_data", names())
    chapter.write("packed")
    with pytest.raises(InputError, match="never wrote"):
        chapter.finish()


def test_every_artefact_has_its_own_path():
    paths = [artefact.path for artefact in runs.ARTEFACTS.values()]
    assert len(paths) == len(set(paths))
    assert {artefact.chapter for artefact in runs.ARTEFACTS.values()} <= set(runs.CHAPTERS)
