"""What `--help` says of the commands that change what is in the lake."""

REWRITE = """\
Empty the columns of columns.exclude, and replace the ids of columns.pseudonymize, in all rows and rejects that are in
the lake: after these settings have changed. It asks the service for nothing. Each file is replaced as an export
replaces it; of a Delta table older versions are removed at once, and whoever reads one fails. It is needed once: what
an export writes obeys the settings by itself."""

ERASE = """\
Remove rows from every table of the lake, with their feedback, turns and rejects, and remember them, so that no export
brings them back. Of a Delta table older versions are removed at once, and whoever reads one fails. Versions that a
bucket keeps, and backups, are out of its reach. It asks first."""

ERASE_RUN = """\
the rows of a run, given by its id or by the queue_run_id of one of them, in all queues (may be given several times)"""

ERASE_QUEUE = """\
all that the lake has of a queue: its id or its exact name (may be given several times)"""

ERASE_OLDER = """\
the rows of all queues that were added longer ago than this, by added_at: 400d, 90m; rows without added_at stay"""
