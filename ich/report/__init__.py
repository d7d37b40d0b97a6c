"""Finished runs to tables, tests between them, report.html and claim.md."""
