"""A report on runs: one HTML file that anybody can open, with all that it needs inside.

page.py puts it together; the other modules say what is in each section. Reading the runs' files loads no torch; only an
explorer, which has a decoder in it, does.
"""

from mixzoo.runs.report.page import Report, report

__all__ = ["Report", "report"]
