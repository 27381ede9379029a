"""Checks of a user's data before an hour of training is lost: every problem with its file."""

from halftrack.data.check.data_sets import check
from halftrack.data.check.pairs import check_sot
from halftrack.data.check.report import DataReport, SetReport

__all__ = ["DataReport", "SetReport", "check", "check_sot"]
