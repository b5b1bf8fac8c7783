"""Ablations: a table of variants of one configuration, described by one file."""
