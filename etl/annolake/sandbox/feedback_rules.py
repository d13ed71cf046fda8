"""What a request for feedback is refused for, and how much of it is answered, where servers differ.

Owns those rules. What a request finds is feedback.py's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from annolake.sandbox.answers import Refusal, invalid


@dataclass(frozen=True)
class FeedbackRules:
    """How this service serves feedback; 0 is no such rule.

    `status`: what every request is refused with. `page_cap`: rows a page at most, whatever is asked for. An answer of
    more than `bytes_cap` is cut behind the last row that fits, of which there is always one. `ignores`: parameters that
    an old server does not know, and so answers without. A URL of more than `most_url` characters is answered with 414,
    more than `most_runs` runs with `most_runs_status`.
    """

    status: int = 0
    page_cap: int = 0
    bytes_cap: int = 0
    ignores: tuple[str, ...] = ()
    most_url: int = 0
    most_runs: int = 0
    most_runs_status: Literal[400, 422] = 422

    def admit(self, url: str, query: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """Return what this server takes notice of in a query, or raise the Refusal."""
        if self.status:
            raise Refusal(self.status, "The sandbox serves no feedback")
        if self.most_url and len(url) > self.most_url:
            raise Refusal(414, "URI Too Long")
        known = {name: values for name, values in query.items() if name not in self.ignores}
        if self.most_runs and len(known.get("run", ())) > self.most_runs:
            if self.most_runs_status != 422:  # noqa: PLR2004 - the only other one
                raise Refusal(self.most_runs_status, f"At most {self.most_runs} runs can be asked for")
            raise invalid(("query", "run"), f"List should have at most {self.most_runs} items", "too_long")
        return known
