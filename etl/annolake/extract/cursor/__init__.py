"""Sections that are read by cursor."""
