"""Measurements of the project; each prints a readable table and writes JSON."""
