"""What was said on the runs of a queue, exported beside its rows."""
