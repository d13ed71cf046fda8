"""`python -m annolake` is the command `annolake`."""

import sys

from annolake.cli import main

sys.exit(main())
