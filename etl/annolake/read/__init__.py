"""For analysts: a lake's views, in DuckDB and as frames of polars. Knows the contract and where tables lie."""
