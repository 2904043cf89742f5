"""An array in place of the packed signals that remembers which records were read from it."""

import numpy as np


class WatchedArray:
    """Looks like an array of records; `read` holds the records asked for, `count` how many in all."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self.shape, self.ndim, self.dtype = values.shape, values.ndim, values.dtype
        self.read: set[int] = set()
        self.count = 0

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, records: np.ndarray) -> np.ndarray:
        wanted = np.arange(len(self.values))[records]
        self.read |= set(np.ravel(wanted).tolist())
        self.count += np.size(wanted)
        return self.values[records]
