"""From JSON text to Arrow: decoding, rejects, flattening. Knows no HTTP and no files."""
