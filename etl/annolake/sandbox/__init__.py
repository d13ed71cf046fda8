"""An embedded stand-in for the service: a real HTTP server on loopback with deterministic data.

It follows the contract of the runs listing and its successor, can be told to change while it is read, and to
fail in every way a network can. It knows nothing of the exporter.
"""

from annolake.sandbox.changes import Changes
from annolake.sandbox.command import parser, run
from annolake.sandbox.embedded import Sandbox
from annolake.sandbox.faults import Faults
from annolake.sandbox.population import Population
from annolake.sandbox.query_rules import QueryRules
from annolake.sandbox.queue import Queue
from annolake.sandbox.rows import Row
from annolake.sandbox.service import Record, Rules
from annolake.sandbox.showing import Showing

__all__ = [
    "Changes",
    "Faults",
    "Population",
    "QueryRules",
    "Queue",
    "Record",
    "Row",
    "Rules",
    "Sandbox",
    "Showing",
    "parser",
    "run",
]
