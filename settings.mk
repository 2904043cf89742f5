# What every Python of the book starts with: `make` includes this file, and the environment's own Python reads it
# (ecgrepro/book/environment.py), so that papermill and JupyterLab started by hand have the same. A variable that is
# already set stays: `OMP_NUM_THREADS=8 make book`.

# One thread, and threads that wait without spinning. A training step of chapter 6 (CNN, 128 records) on two cores
# that others used too: 0.9 s with one thread; with two 4.8 s spinning, 2.1 s waiting passively.
OMP_NUM_THREADS ?= 1
OMP_WAIT_POLICY ?= passive
OPENBLAS_NUM_THREADS ?= 1
# glibc hands large tensors back to the kernel at every training step; keeping them halves a step's time.
MALLOC_MMAP_THRESHOLD_ ?= 4294967296
MALLOC_TRIM_THRESHOLD_ ?= 8589934592
MALLOC_TOP_PAD_ ?= 1073741824
PYTHONHASHSEED ?= 0
