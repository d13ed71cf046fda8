"""`python -m annolake.sandbox`: the sandbox as a process of its own, as benchmarks start it."""

import argparse
import sys

from annolake.errors import AnnolakeError
from annolake.sandbox.command import add_arguments, run


def main() -> int:
    """Run the command; 2 when its options won't do."""
    parser = argparse.ArgumentParser(prog="annolake sandbox", description="A stand-in for the service, on loopback.")
    add_arguments(parser)
    try:
        return run(parser.parse_args(), sys.stdout)
    except AnnolakeError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


sys.exit(main())
