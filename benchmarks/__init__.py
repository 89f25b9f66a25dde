"""Measurements of pubworks beside its alternatives, in one run: ``make bench``."""
