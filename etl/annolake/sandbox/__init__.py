"""An embedded stand-in for the service: a real HTTP server on loopback with deterministic data.

It follows the contract of the runs listing and its successor, can be told to change while it is read, and to
fail in every way a network can. It knows nothing of the exporter.
"""

from annolake.sandbox.changes import Changes
from annolake.sandbox.command import parser, run
from annolake.sandbox.embedded import Sandbox
from annolake.sandbox.faults import Faults
from annolake.sandbox.feedback_book import FeedbackBook, FeedbackEvent
from annolake.sandbox.feedback_rules import FeedbackRules
from annolake.sandbox.feedback_text import Feedback
from annolake.sandbox.population import Population
from annolake.sandbox.query_rules import QueryRules
from annolake.sandbox.queue import Queue
from annolake.sandbox.rows import Row
from annolake.sandbox.service import Record, Rules
from annolake.sandbox.showing import Showing
from annolake.sandbox.threads import ThreadBook, Turn

__all__ = [
    "Changes",
    "Faults",
    "Feedback",
    "FeedbackBook",
    "FeedbackEvent",
    "FeedbackRules",
    "Population",
    "QueryRules",
    "Queue",
    "Record",
    "Row",
    "Rules",
    "Sandbox",
    "Showing",
    "ThreadBook",
    "Turn",
    "parser",
    "run",
]
