"""Lists that are read by offset."""
