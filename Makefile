# `make book` and `make test` do everything: they make the environment first if it is not there.
PYTHON ?= $(shell command -v python3.11 || echo python3)
PROFILE ?= demo
RUN ?=
RELEASE ?=
TEXT_MODEL ?=
CHAPTER ?=
CORES ?= 2

# What was typed reaches Python through the environment, letter by letter: neither make nor a shell reads it.
TYPED := PROFILE RUN RELEASE TEXT_MODEL CHAPTER CORES
$(foreach name,$(TYPED),$(eval override export $(name) := $$(value $(name))))

BIN := .venv/bin
# The kernels papermill starts, and jupyter-book, are found in the environment.
export PATH := $(CURDIR)/$(BIN):$(PATH)
include settings.mk
export $(shell sed -n 's/ ?=.*//p' settings.mk)
export HF_HUB_OFFLINE ?= 1
# Lines of a long training go to this terminal (nowhere without one); in JupyterLab they appear under the cell.
export ECGREPRO_PROGRESS := $(shell tty 2>/dev/null || echo none)

WORKFLOW = @python -m ecgrepro.book.workflow

.PHONY: book test portable env chapter needs protocol lab data notebooks references picture lint bench kills clean

book: env  ## run the chapters that are stale and render the book to _build/html
	$(WORKFLOW) book
	@echo "The book: _build/html/index.html"

test: env  ## unit tests, guards, and the chapters against their stored references
	pytest -q --nbval

portable: env  ## numeric tests and chapters again, as other processors and thread counts would run them
	python -m tests.portable

env: .venv/.ready
.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info[:2] == (3, 11) or sys.exit("The environment needs Python 3.11, this is %d.%d: name one, make env PYTHON=python3.11 (uv, pyenv and conda have it)." % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m ecgrepro.book.environment
	touch $@

chapter: env  ## one chapter and what it needs: make chapter CHAPTER=06_alignment
	$(WORKFLOW) chapter

needs: env  ## only what a chapter needs, to rerun it by hand: make needs CHAPTER=06_alignment
	$(WORKFLOW) needs

protocol: env  ## the arms of chapter 13 side by side, then the book: make protocol PROFILE=protocol CORES=16
	$(WORKFLOW) protocol

lab: env  ## the notebooks in JupyterLab
	env -u ECGREPRO_PROGRESS jupyter lab notebooks

data: env  ## genuine PTB-XL from PhysioNet to data/ptbxl, resumed and verified
	python -m ecgrepro.data.download ptb-xl --out data/ptbxl

notebooks: env  ## write the .ipynb beside each .py
	@python -m ecgrepro.book.notebooks
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

kills: env  ## stop the smoke book 20 times at random, go on each time, compare with a run that was never stopped
	python -m tests.kills

clean:  ## forget the rendered book and the runs; keep the environment
	rm -rf _build book/executed runs .snakemake
