"""Columns that are left out, and ids that are replaced by pseudonyms."""
