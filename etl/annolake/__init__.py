"""annolake exports LangSmith annotation queues into a lake of partitioned Parquet files."""

__version__ = "0.1.0"
