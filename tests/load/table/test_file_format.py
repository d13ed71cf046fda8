"""What is made of a format's schema is remembered, and is never that of another schema."""

from msgspec.structs import replace

from annolake.contract import FEEDBACK, RUNS, Table
from annolake.load.table.file_format import FileFormat, by_schema


def test_what_is_made_of_a_schema_is_made_once() -> None:
    """Of an equal one too, as each queue has on a worker; anew once the table has another one, and then again."""
    made = list[str]()

    @by_schema
    def first_column(file_format: FileFormat) -> str:
        made.append(file_format.table)
        return str(file_format.schema.names[0])

    runs, feedback = format_of(RUNS), format_of(FEEDBACK)
    fewer = replace(runs, schema=runs.schema.remove(0))

    assert first_column(runs) == first_column(format_of(RUNS)) == RUNS.schema.names[0]
    assert first_column(feedback) == FEEDBACK.schema.names[0]
    assert first_column(fewer) == RUNS.schema.names[1]
    assert first_column(runs) == RUNS.schema.names[0]
    assert first_column(replace(runs, key=("id",))) == RUNS.schema.names[0]
    assert made == ["runs", "feedback", "runs", "runs", "runs"]


def format_of(table: Table) -> FileFormat:
    """Return the format of a table's files, made anew."""
    return FileFormat.of(table, hash_version=1, compression="zstd", row_group_mb=32)
