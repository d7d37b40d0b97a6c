"""Finished runs to tables, tests between them, and report.html."""
