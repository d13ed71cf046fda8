"""Stored rows and new ones become the next version of a partition."""
