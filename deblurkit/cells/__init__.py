"""Cells: one blurry picture, one resolved configuration, one seed; carried out once, kept, tabulated."""
