# `make book` and `make test` do everything: they make the environment first if it is not there.
PYTHON ?= python3
PROFILE ?= demo
RUN ?=
RELEASE ?=
TEXT_MODEL ?=
CHAPTER ?=
CORES ?= 2

BIN := .venv/bin
# The kernels papermill starts, and jupyter-book, are found in the environment.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# glibc hands large tensors back to the kernel at every training step; keeping them halves a step's time.
export MALLOC_MMAP_THRESHOLD_ = 4294967296
export MALLOC_TRIM_THRESHOLD_ = 8589934592
export MALLOC_TOP_PAD_ = 1073741824
export PYTHONHASHSEED = 0
export HF_HUB_OFFLINE ?= 1
# Lines of a long training go to this terminal (nowhere without one); in JupyterLab they appear under the cell.
export ECGREPRO_PROGRESS := $(shell tty 2>/dev/null || echo none)
# Two BLAS threads beside torch's own slow small fits down many times.
export OPENBLAS_NUM_THREADS = 1

SNAKEMAKE = snakemake --cores $(CORES) --quiet host progress rules reason --rerun-triggers mtime input \
  --config profile=$(PROFILE) run=$(RUN) release=$(RELEASE) text_model=$(TEXT_MODEL) chapter=$(CHAPTER) --

.PHONY: book test env chapter needs protocol lab data notebooks references picture lint bench clean

book: env  ## run the chapters that are stale and render the book to _build/html
	$(SNAKEMAKE) book
	@echo "The book: _build/html/index.html"

test: env  ## unit tests, guards, and the chapters against their stored references
	pytest -q --nbval

env: .venv/.ready
.venv/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

chapter: env  ## one chapter and what it needs: make chapter CHAPTER=06_alignment
	$(SNAKEMAKE) chapter

needs: env  ## only what a chapter needs, to rerun it by hand: make needs CHAPTER=06_alignment
	$(SNAKEMAKE) needs

protocol: env  ## the arms of chapter 13 side by side, then the book: make protocol PROFILE=protocol CORES=16
	$(SNAKEMAKE) sweep
	snakemake -s protocol.smk --cores $(CORES) --rerun-incomplete --quiet host progress rules reason \
	  --rerun-triggers mtime input --config run=$$(cat _build/run.txt)
	$(SNAKEMAKE) book

lab: env  ## the notebooks in JupyterLab
	env -u ECGREPRO_PROGRESS jupyter lab notebooks

data: env  ## genuine PTB-XL from PhysioNet to data/ptbxl, resumed and verified
	python -m ecgrepro.data.download ptb-xl --out data/ptbxl

notebooks: env  ## write the .ipynb beside each .py
	jupytext --quiet --update --to ipynb notebooks/*.py notebooks/sweep/*.py

references: env  ## rewrite tests/reference from the smoke profile
	python -m tests.make_references

picture: env  ## the picture of the README, from the demo run
	python book/make_picture.py

lint: env
	ruff check .
	ruff format --check .
	mypy

bench: env  ## ratios, not seconds: each script compares in one run
	for script in benchmarks/*.py; do echo "== $$script"; python $$script || exit 1; done

clean:  ## forget the rendered book and the runs; keep the environment
	rm -rf _build book/executed runs .snakemake
