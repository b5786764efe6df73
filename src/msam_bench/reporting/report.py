"""From run records to evidence: one table, one sentence, one page that needs no network.

`compare` turns records into a `Table` of plain values that the terminal, the page, Markdown and CSV all show; its
`verdict` says in words what the evidence supports. `write_report` writes the page with every figure, and the table
beside it. The parts lie in `msam_bench.reporting`.

    table = compare(records)                                # against "joint" and "sam", paired by seed
    print(table.verdict)
    write_report(records, Path("results"), "msam compare")  # results/report.html, table.md, table.csv, figures/
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path

from msam_bench.files import write_whole
from msam_bench.reporting.comparing import compare
from msam_bench.reporting.grouping import grouped
from msam_bench.reporting.page import draw, render
from msam_bench.reporting.pictures import pictures
from msam_bench.reporting.run_summary import Record
from msam_bench.reporting.table import Table
from msam_bench.reporting.wording import divergences

__all__ = ["Record", "Table", "compare", "divergences", "write_report"]


def write_report(
    records: Iterable[Record], path: Path, command: str, notes: Sequence[str] = (), executor: Executor | None = None
) -> Path:
    """Writes `report.html`, `table.md`, `table.csv` and `figures/*` into a folder and gives the path of the page.

    Each file appears whole or not at all, and nothing is written when the runs cannot be compared.

    Args:
        records: Finished runs of one data set, one for each method and seed.
        path: The folder, created where it does not exist.
        command: The command that reproduces the runs, shown as it is.
        notes: As `compare`.
        executor: What draws the pictures beside the page; this process if None.

    Raises:
        ValueError: As `compare`, and if `path` is not a folder.
    """
    records = list(records)
    table = compare(records, notes=notes)
    groups = grouped(records, table.reference, table.second)
    figures = draw(groups, table)
    page = render(groups, table, figures, command)
    if path.exists() and not path.is_dir():
        raise ValueError(f"A report is written into a folder, but {path} is a file; name a folder.")
    files = {f"figures/{name}": content for name, content in pictures(figures, executor).items()}
    files |= {"table.md": table.markdown(), "table.csv": table.csv(), "report.html": page}
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        write_whole(path / name, text)
    return path / "report.html"
