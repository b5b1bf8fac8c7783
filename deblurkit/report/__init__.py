"""Reports: tables, curves and pictures as one HTML page that needs nothing else.

It is fed with plain data and knows nothing of where they come from. It needs the extra ``report``.
"""

from deblurkit.report.data import Column, Curve, Page, Picture, Plot, Table
from deblurkit.report.page import BUDGET, check_report, render, write_report

__all__ = ["BUDGET", "Column", "Curve", "Page", "Picture", "Plot", "Table", "check_report", "render", "write_report"]
