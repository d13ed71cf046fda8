"""`python -m annolake.sandbox`: the sandbox as a process of its own, as benchmarks start it."""

import sys

from annolake.errors import AnnolakeError
from annolake.sandbox.command import parser, run


def main() -> int:
    """Run the command; 2 when its options won't do."""
    try:
        return run(parser("annolake sandbox").parse_args(), sys.stdout)
    except AnnolakeError as error:
        sys.stderr.write(f"annolake sandbox: {error}\n")
        return error.exit_code


sys.exit(main())
