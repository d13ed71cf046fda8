"""What each view selects, in an order in which each names earlier ones alone."""

from annolake.read.definitions import agreement, measures, people, rows

DEFINITIONS = {
    each.name: each
    for each in (
        *(rows.QUEUES, rows.ALL_RUNS, rows.RUNS, rows.ALL_FEEDBACK, rows.FEEDBACK, rows.ALL_TURNS, rows.TURNS),
        *(people.REVIEWERS, people.REVIEWS, people.REVIEWER_THROUGHPUT, people.REVIEW_LATENCY),
        *(measures.FEEDBACK_STATS, measures.DAILY_COST, measures.QUEUE_BACKLOG, agreement.AGREEMENT),
    )
}
