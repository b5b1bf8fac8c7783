"""Needs what nobody has."""

print("loading ...")

import a_module_that_nobody_has  # noqa: E402, F401
