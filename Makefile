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
# OpenMP's threads wait asleep: spinning, two of them were four to nine times slower than one on a busy machine.
export OMP_WAIT_POLICY ?= passive
# The environment's own kernel comes before one of the same name elsewhere.
export JUPYTER_PATH := $(CURDIR)/.venv/share/jupyter:$(JUPYTER_PATH)
# Lines of a long training go to this terminal (nowhere without one); in JupyterLab they appear under the cell.
export ECGREPRO_PROGRESS := $(shell tty 2>/dev/null || echo none)
# Two BLAS threads beside torch's own slow small fits down many times.
export OPENBLAS_NUM_THREADS = 1

# Settings reach Python as environment variables: no shell reads what stands in them.
export PROFILE RUN RELEASE TEXT_MODEL CHAPTER CORES
BOOK := python -m ecgrepro.book

.PHONY: book test portable kills env chapter needs protocol lab data notebooks references picture lint bench clean

book: env  ## run the chapters that are stale and render the book to _build/html
	@$(BOOK) book
	@echo "The book: _build/html/index.html"

test: env  ## unit tests, guards, and the chapters against their stored references
	pytest -q --nbval

portable: env  ## numeric tests and chapters again, as other processors and thread counts would run them
	python -m tests.portable

env: .venv/.ready
.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; \
	  sys.exit(v != (3, 11) and "error: Python %d.%d: this book needs 3.11; try make PYTHON=python3.11" % v or 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m ipykernel install --sys-prefix --env OMP_WAIT_POLICY passive >/dev/null
	touch $@

chapter: env  ## one chapter and what it needs: make chapter CHAPTER=06_alignment
	@$(BOOK) chapter

needs: env  ## only what a chapter needs, to rerun it by hand: make needs CHAPTER=06_alignment
	@$(BOOK) needs

protocol: env  ## the arms of chapter 13 side by side, then the book: make protocol PROFILE=protocol CORES=16
	@$(BOOK) sweep
	@$(BOOK) arms
	@$(BOOK) book

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

kills: env  ## kill the book 20 times at random moments, and compare it with one that was left alone
	python -m tests.kills

lint: env
	ruff check .
	ruff format --check .
	mypy

bench: env  ## ratios, not seconds: each script compares in one run
	for script in benchmarks/*.py; do echo "== $$script"; python $$script || exit 1; done

clean:  ## forget the rendered book and the runs; keep the environment
	rm -rf _build book/executed runs .snakemake
