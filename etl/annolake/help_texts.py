"""What `--help` says of commands and options."""

EXIT_CODES = """\
exit codes:
  0    exported
  1    a bug, with a traceback
  2    the command line or the config is wrong
  3    finished, but something is missing: new rejects, runs that the service no longer has, a queue that could not be
       verified complete, or many rows that may have left; of status: a queue without a good export within --max-age
  4    the service refused a request or did not answer, or the cluster of --on did not, or lost a worker too often
  5    the lake could not be read, written or trusted, or standard output could not be written
  6    another export holds a queue's lock
  130, 143  interrupted by SIGINT, SIGTERM
"""

INIT = """\
Write a settings file with every setting explained, then check it. On a terminal it asks for what no option gives. What
ANNOLAKE_ variables set is the default. A file that is there is left alone."""

DRY_RUN = """\
export nothing: say of each queue how many rows there are, and whether all or new ones would be read; what check would
complain of is told too"""

CONFIG = "the settings file (default: ./annolake.toml)"

QUEUE = "its id, its page's address, or its exact name (may be given several times)"

NEW_ONLY = """\
read only rows added since the last complete export, in a few requests; it does not refresh reviews, feedback and
removals of older rows, so it becomes a full export when the last one is older than sync.full_every_s"""

ACCEPT_REMOVALS = """\
mark rows that the service did not show as removed, even if there are many of them or the service still counts them;
without it they are reported as removed_unconfirmed, and the next export looks again"""

MAX_AGE = """\
exit with 3 where a queue has no good export (complete and published) younger than this, counted from its end: 90m, 26h,
2d; for monitors. The queues of source.queues count, also when they were never exported; where these are "all", every
queue that is shown"""

REFRESH = """\
over the items endpoint: ask for the run of every row that is read; without it only for those whose item is new or has
changed, for some of the last 3 days, and for all once sync.refresh_runs_every_s is over; no effect over runs"""

ON = """\
have the workers of a Dask cluster export the queues, one each at a time: dask://host:8786; needs annolake[dask], in the
same version, here and on every worker, which also needs the key's variable and access to the lake"""

COPY = """\
Copy a table into one flat file, for programs that know no lake: lists, maps and objects as JSON text, decimals exact,
times in UTC, hashes left out, queue_id and queue_name first. Rows that left their queue are left out; --all copies them
too, with removed_at. The file has its name when it is whole."""

SPREADSHEET = """\
CSV for a spreadsheet: text that it would compute as a formula begins with an apostrophe, and the file says that it is
UTF-8; without it each text is copied exactly"""

DASHBOARD = """\
Write one page of HTML about the lake: how the last exports went, which runs wait and for how long, what was finished
and by whom, costs and tokens, answers, rejects. It is one file, without scripts, and loads nothing. It needs
annolake[dashboard]."""

PAGE = """\
the file to write (default: ./dashboard.html); an earlier dashboard is replaced, another file never"""

SINCE = """\
the first day to show (2026-11-01), or how many days up to the newest on which something happened (30d, the default)"""

UNLOCK = """\
Free the lock of a queue in an object store. The lock of a dead export frees itself after 60 seconds; this is for those
who cannot wait. An export that still runs loses the queue by it, and publishes nothing more of it. On a disk a lock
ends with its process by itself."""

UNLOCK_QUEUE = "its id, its page's address, or its exact name, where the lake has it"

OUT = """\
write a DuckDB database that has the views, which opens from any folder and stays true after later exports; needs
annolake[views], and for a lake of Delta tables DuckDB's extension delta"""

VIEWS = """\
Print SQL that makes views of the lake in DuckDB: runs with the names of their queues, reviewers, reviews, feedback,
costs, throughput, latency, backlog, agreement. docs/schema.md lists them. Every day is a UTC day."""

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
