"""Into the lake: merging partitions, publishing them, reading state back. Knows no HTTP and no JSON rows."""
