"""Who is told of an export while it runs: logs, and how far it is, on a terminal or for a program."""
