"""ECG releases on disk, and their signals as arrays: opened, checked, packed. Knows no model."""

from ecgrepro.data.packing import Packed, open_packed, pack, pack_arrays
from ecgrepro.data.ptbxl import (
    SPLITS,
    SUPERCLASSES,
    Release,
    open_release,
    split_by_fold,
    superclass_matrix,
)
from ecgrepro.data.wfdb16 import read_record

__all__ = [
    "SPLITS",
    "SUPERCLASSES",
    "Packed",
    "Release",
    "open_packed",
    "open_release",
    "pack",
    "pack_arrays",
    "read_record",
    "split_by_fold",
    "superclass_matrix",
]
