"""Where a queue's rows come from: an endpoint's requests, its paging and its decoding put together."""
