# The arms of chapter 13 side by side: one papermill run of notebooks/sweep/arm.ipynb for each. The chapter itself
# runs what is missing one after the other; for more than the demo's few arms, this file does it on many cores.
# Which arms: the chapter's parameters in the run (a profile sets them). An interrupted arm goes on where it stood.
#
#   make protocol PROFILE=protocol CORES=16
import re

from ecgrepro import ROOT
from ecgrepro.dependencies import modules_behind
from ecgrepro.parameters import effective_parameters
from ecgrepro.protocol.run import files_behind
from ecgrepro.protocol.starts import ALIGNED, start_path
from ecgrepro.protocol.sweep import starts_of, sweep_of

FOLDER = Path(config["folder"])
RUN = FOLDER.name
ARMS = {arm.name: arm for arm in sweep_of(ROOT / FOLDER, effective_parameters("13_protocol", RUN))[0]}


def start_of(encoder, initialisation):
    return str(start_path(ROOT / FOLDER, encoder, initialisation).relative_to(ROOT))


rule arms:
    input:
        [FOLDER / f"protocol/executed/{name}.ipynb" for name in ARMS],


rule arm:
    input:
        lambda wildcards: [str(FOLDER / path) for path in files_behind(ARMS[wildcards.arm], ROOT / FOLDER)],
        notebook="notebooks/sweep/arm.ipynb",
        modules=modules_behind("sweep/arm"),
    output:
        # The arm's own files are no outputs here: snakemake deletes outputs before a rule runs, and an arm
        # whose code changed in a comment only is found finished by its record.
        FOLDER / "protocol/executed/{arm}.ipynb",
    wildcard_constraints:
        arm="|".join(map(re.escape, ARMS)),
    params:
        values=lambda wildcards: " ".join(
            f"-{'r' if isinstance(value, str) else 'p'} {name} '{value}'"
            for name, value in {"run": RUN, **ARMS[wildcards.arm].as_dict()}.items()
        ),
    shell:
        "papermill {input.notebook} {output}.unfinished.ipynb --kernel python3 {params.values}"
        " --no-progress-bar --log-level WARNING && mv {output}.unfinished.ipynb {output}"


# Weights that chapter 6 did not make: reconstruction alone, and alignments of other encoders.
for pair in starts_of(list(ARMS.values())):
    if start_of(*pair) != str(FOLDER / ALIGNED):

        rule:
            name:
                "pretrain_" + "_".join(pair)
            input:
                FOLDER / ALIGNED,
                FOLDER / "packed/packed.json",
                [FOLDER / f"text/{name}.npy" for name in ("ecg_ids", "z_text", "text_ids")],
            output:
                start_of(*pair),
            params:
                step=f"--run {RUN} --encoder {pair[0]} --initialisation {pair[1]}",
            shell:
                "python -m ecgrepro.protocol {params.step}"
