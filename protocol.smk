# The evaluation protocol as a sweep over a run that is already made: one papermill run of notebooks/sweep/arm.ipynb
# for each arm, then one table. Interrupted arms go on where they stood.
#
#   snakemake -s protocol.smk --cores 2 --config run=demo
#   snakemake -s protocol.smk --cores 2 --config run=demo seeds='[42]' labels='[20,40,80]' protocols='[study]'
#
# Lists: cohorts, encoders, initialisations, baselines, protocols, seeds, labels. Numbers: n_folds, epochs (of the
# fine-tuning), pretrain_epochs; 0 epochs: as in the run.
import re

from ecgrepro import ROOT
from ecgrepro.dependencies import modules_behind
from ecgrepro.protocol import sweep_of
from ecgrepro.protocol.arms import NO_ENCODER, PRETRAINED
from ecgrepro.protocol.starts import ALIGNED, FOLLOW_UP, MEASURED, PACKED, start_path

RUN = config.get("run") or "demo"
FOLDER = Path("runs") / RUN
OUT = FOLDER / "protocol"
LISTS = ("cohorts", "encoders", "initialisations", "baselines", "protocols", "seeds", "labels")
OPTIONS = {}
for name in LISTS:
    if name in config:
        value = config[name] if isinstance(config[name], list) else [config[name]]
        # A list on the command line arrives as a list of texts.
        OPTIONS[name] = [int(part) for part in value] if name in ("seeds", "labels") else value
if "n_folds" in config:
    OPTIONS["n_folds"] = int(config["n_folds"])
ARMS = {arm.name: arm for arm in sweep_of(ROOT / FOLDER, OPTIONS)}


def start_of(encoder, initialisation):
    return str(start_path(ROOT / FOLDER, encoder, initialisation).relative_to(ROOT))


def read_by(wildcards):
    """What an arm stands on, besides code."""
    arm = ARMS[wildcards.arm]
    files = [FOLDER / FOLLOW_UP, FOLDER / PACKED]
    if arm.encoder != NO_ENCODER:
        files.append(FOLDER / ALIGNED)
    if arm.initialisation in PRETRAINED:
        files.append(start_of(arm.encoder, arm.initialisation))
    if arm.initialisation == "ecg_15" and (FOLDER / MEASURED).is_file():
        files.append(FOLDER / MEASURED)
    return sorted({str(file) for file in files})


rule protocol:
    input:
        OUT / "executed/13_protocol.ipynb",


rule table:
    input:
        [OUT / f"executed/{name}.ipynb" for name in ARMS],
    output:
        [OUT / f"{name}.csv" for name in ("folds", "summary", "differences")],
    shell:
        f"python -m ecgrepro.protocol collect --run {RUN}"


rule page:
    input:
        notebook="notebooks/sweep/13_protocol.ipynb",
        table=OUT / "folds.csv",
    output:
        OUT / "executed/13_protocol.ipynb",
    shell:
        "papermill {input.notebook} {output} --kernel python3 -p run " + RUN +
        " --no-progress-bar --log-level WARNING"


rule arm:
    input:
        read_by,
        notebook="notebooks/sweep/arm.ipynb",
        modules=modules_behind("sweep/arm"),
    output:
        # The arm's own files are no outputs here: snakemake deletes outputs before a rule runs, and an arm
        # whose code changed in a comment only is found finished by its record.
        OUT / "executed/{arm}.ipynb",
    wildcard_constraints:
        arm="|".join(map(re.escape, ARMS)),
    params:
        values=lambda wildcards: " ".join(
            f"-{'r' if isinstance(value, str) else 'p'} {name} '{value}'"
            for name, value in {
                "run": RUN,
                **ARMS[wildcards.arm].as_dict(),
                "epochs": int(config.get("epochs") or 0),
            }.items()
        ),
    shell:
        "papermill {input.notebook} {output} --kernel python3 {params.values}"
        " --no-progress-bar --log-level WARNING"


# Weights that chapter 6 did not make: reconstruction alone, and alignments of other encoders.
for arm_start in sorted({(arm.encoder, arm.initialisation) for arm in ARMS.values()}):
    if arm_start[1] in PRETRAINED and start_of(*arm_start) != str(FOLDER / ALIGNED):

        rule:
            name:
                f"pretrain_{arm_start[1]}_{arm_start[0]}"
            input:
                FOLDER / ALIGNED,
                FOLDER / "packed/packed.json",
                [FOLDER / f"text/{name}.npy" for name in ("ecg_ids", "z_text", "text_ids")],
            output:
                start_of(*arm_start),
            params:
                step=f"--run {RUN} --encoder {arm_start[0]} --initialisation {arm_start[1]}"
                f" --epochs {int(config.get('pretrain_epochs') or 0)}",
            shell:
                "python -m ecgrepro.protocol pretrain {params.step}"
