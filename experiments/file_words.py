"""What jaxvae/README.md says of the files of a study's folder, from the words of the report."""

from pages import table

from jaxvae.report.words import TABLES


def study_files_table() -> str:
    """A row a table: what its rows are of, and the units of its values."""
    rows = ((f"`{name}.csv`", row, units) for name, (row, units) in TABLES.items())
    return table(("file", "a row for", "values in"), rows)
