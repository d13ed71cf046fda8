"""What paging by offset and paging by cursor share."""
