"""What is learned of the service's terms from its refusals."""

from annolake.extract.endpoints.query_limits import MOST, QueryLimits, QuerySize


def refused(query_limits: QueryLimits, asked: int, status: int, *numbers: int) -> bool:
    """Tell of a refusal."""
    return query_limits.refused(asked, status=status, numbers=numbers)


def test_a_named_cap_holds() -> None:
    """The largest named number below what was asked for is the cap, and no success lifts it."""
    query_limits = QueryLimits()
    assert query_limits.most == MOST
    assert refused(query_limits, 100, 400, 1001, 100, 25, 7)
    assert query_limits.most == 25
    for _ in range(1000):
        query_limits.answered(25)

    assert query_limits.most == 25
    assert refused(query_limits, 25, 422, 25, 7)
    assert query_limits.most == 7


def test_what_no_smaller_query_cures_is_not_learned_from() -> None:
    """No number, a larger number, another status, or a single run."""
    query_limits = QueryLimits()

    assert not refused(query_limits, 100, 400)
    assert not refused(query_limits, 100, 422, 100, 250, 0)
    assert not refused(query_limits, 100, 403, 25)
    assert not refused(query_limits, 100, 500)
    assert not refused(query_limits, 1, 502)
    assert query_limits.most == MOST


def test_lanes_that_hear_the_same_refusal_halve_once() -> None:
    """Eight queries of 100 that a gateway dropped make 50 of it, not less than one."""
    query_limits = QueryLimits()

    assert all(refused(query_limits, 100, 502) for _ in range(8))
    assert query_limits.most == 50


def test_a_halved_size_grows_back_ever_more_seldom() -> None:
    """After eight answers twice as much is tried; each time that is too large, twice as many answers are waited for."""
    query_limits, waited = QueryLimits(), []
    refused(query_limits, 100, 504)
    for _ in range(4):
        answers = 0
        while query_limits.most < 100:
            query_limits.answered(50)
            answers += 1
        waited.append(answers)
        refused(query_limits, 100, 504)

    assert waited == [8, 16, 32, 64]


def test_queries_grow_with_what_answers_weigh() -> None:
    """A first query is small, the next ones wait for it, and then an answer is to weigh 4 MB at most."""
    size = QuerySize(64_000_000, 256_000_000)
    first = size()
    size.asks()
    meanwhile = size()
    size.saw(20, 20 * 20_000)

    assert (first, meanwhile, size(), size.at_once) == (20, MOST, 200, 16)
    size.saw(200, 200 * 1_000)
    assert 200 < size() < MOST
    size.saw(1, 9_000_000)
    assert size() == 1


def test_answers_in_memory_stay_within_the_budget() -> None:
    """Few queries at once where the memory is little, and small ones where a single answer may not be large."""
    assert QuerySize(1_000_000, 256_000_000).at_once == 1
    small = QuerySize(64_000_000, 1_000_000)
    small.saw(10, 10_000)
    assert (small(), small.at_once) == (500, 128)
