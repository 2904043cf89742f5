"""Follow-up tables: one schema, one module an origin."""

from ecgrepro.cohorts.brazil import read_tracings
from ecgrepro.cohorts.describe import (
    describe,
    describe_parts,
    incidence_by_year,
    suppress_columns,
    suppress_count,
    suppress_table,
)
from ecgrepro.cohorts.schema import Cohort, read_follow_up, validate_follow_up

__all__ = [
    "Cohort",
    "describe",
    "describe_parts",
    "incidence_by_year",
    "read_follow_up",
    "read_tracings",
    "suppress_columns",
    "suppress_count",
    "suppress_table",
    "validate_follow_up",
]
