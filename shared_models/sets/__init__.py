"""Layers on point sets."""
