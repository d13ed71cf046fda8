"""From the service: HTTP, pages, and the endpoints that rows come from. Knows no Arrow and no files."""
