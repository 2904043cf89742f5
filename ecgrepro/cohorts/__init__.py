"""Follow-up tables: one schema, one module a source."""

from ecgrepro.cohorts.describe import (
    describe,
    describe_parts,
    incidence_by_year,
    median_follow_up,
    suppress_columns,
    suppress_count,
    suppress_table,
)
from ecgrepro.cohorts.schema import (
    Cohort,
    attach_split,
    landmark,
    read_follow_up,
    validate_follow_up,
)

__all__ = [
    "Cohort",
    "attach_split",
    "describe",
    "describe_parts",
    "incidence_by_year",
    "landmark",
    "median_follow_up",
    "read_follow_up",
    "suppress_columns",
    "suppress_count",
    "suppress_table",
    "validate_follow_up",
]
