"""Kernel spaces: training material, training, transfer of blur."""
