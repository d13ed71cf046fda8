"""What a query of runs is refused for, where servers differ and no document tells.

Owns those rules and the form of their refusals. What a query finds is query.py's.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from annolake.sandbox.answers import Answer, Problem, Refusal, invalid

SUBTREE_USAGE = "include_subtree_usage"

_OLD_FORM = 422  # the first version's list; all else is a problem of RFC 7807


@dataclass(frozen=True)
class QueryRules:
    """How this service serves the query of runs; 0 is no such rule.

    `most_ids` in one query: more are refused, with `most_ids_status`, and the refusal names the number. An answer of
    more than `most_bytes` becomes `too_large`. `refuse_subtree_usage`: the status for a query that has the parameter.
    """

    refuse_subtree_usage: Literal[0, 400, 422] = 0
    most_ids: int = 0
    most_ids_status: Literal[400, 422] = 400
    most_bytes: int = 0
    too_large: Literal[413, 502, 504] = 502

    def check_parameters(self, names: Collection[str]) -> None:
        """Pass a query with these parameters, or raise the Refusal."""
        if SUBTREE_USAGE in names and self.refuse_subtree_usage:
            if self.refuse_subtree_usage == _OLD_FORM:
                raise invalid(("body", SUBTREE_USAGE), "Extra inputs are not permitted", "extra_forbidden")
            raise Problem(self.refuse_subtree_usage, f"1 validation error: unknown field {SUBTREE_USAGE}")

    def check_ids(self, ids: Sequence[str] | None) -> None:
        """Pass a query of these ids, or raise the Refusal."""
        if self.most_ids and ids is not None and len(ids) > self.most_ids:
            if self.most_ids_status == _OLD_FORM:
                message = f"List should have at most {self.most_ids} items after validation, not {len(ids)}"
                raise invalid(("body", "ids"), message, "too_long")
            raise Problem(self.most_ids_status, f"Limit exceeds maximum allowed value of {self.most_ids}")

    def weigh(self, answer: Answer) -> Answer:
        """Return an answer that is not too large; Refusal otherwise."""
        if self.most_bytes and len(answer.body) > self.most_bytes:
            raise Refusal(self.too_large, "The answer could not be carried")
        return answer
