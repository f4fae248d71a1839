"""XNAT's listings: the ``ResultSet`` in JSON, CSV, XML and HTML.

Shapes read from ``JSONTableRepresentation``, ``XFTTable`` and recorded from a genuine server. Every value is a string.
Encoders are exact; the decoder forgives what servers of different ages do differently.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Row = dict[str, str]


class TableError(ValueError):
    """The text is no listing."""


@dataclass(frozen=True, slots=True)
class Table:
    """A listing.

    Attributes:
        columns: Column names in the order of the CSV.
        rows: One mapping a row; absent keys are empty.
        title: ``title`` member of the JSON, or None for none.
        counted: Whether JSON and XML carry ``totalRecords`` (file listings do not).
        meta: Further members put before the rows (file listings carry ``Columns``).
        total: Number of records when it is not the number of rows.
        closing: Further members put after the rows.
        hashed: Whether the members of a JSON row come in the order of Java's ``HashMap``, as recorded of searches.
    """

    columns: Sequence[str]
    rows: Sequence[Mapping[str, str]]
    title: str | None = None
    counted: bool = True
    meta: Mapping[str, Any] = field(default_factory=dict)
    total: int | None = None
    closing: Mapping[str, str] = field(default_factory=dict)
    hashed: bool = False

    @property
    def total_records(self) -> str:
        """``totalRecords`` as XNAT writes it: a string."""
        return str(len(self.rows) if self.total is None else self.total)


def encode_json(table: Table) -> str:
    """Write *table* as XNAT's ``ResultSet`` JSON."""
    head = "".join(
        f"{json.dumps(key)}:{json.dumps(value, separators=(',', ':'))}," for key, value in table.meta.items()
    )
    columns = sorted(table.columns, key=_java_bucket) if table.hashed else table.columns
    rows = json.dumps(
        [{column: row.get(column, "") for column in columns} for row in table.rows],
        ensure_ascii=False,
        separators=(",", ":"),
    ).replace("</", "<\\/")
    after = dict(table.closing)
    if table.counted:
        after["totalRecords"] = table.total_records
    if table.title is not None:
        after["title"] = table.title
    tail = ",".join(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in after.items())
    return f'{{"ResultSet":{{{head}"Result":{rows}{", " if tail else ""}{tail}}}}}'


def _java_bucket(text: str) -> int:
    """Where Java's ``HashMap`` of 16 buckets keeps a key."""
    value = 0
    for character in text:
        value = (31 * value + ord(character)) & 0xFFFFFFFF
    return (value ^ value >> 16) & 15


def encode_csv(table: Table) -> str:
    """Write *table* as CSV: a header line even when there are no rows, LF line ends, line breaks in values blanked."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.rows:
        writer.writerow([" ".join(row.get(column, "").splitlines()) for column in table.columns])
    return out.getvalue()


def encode_xml(table: Table) -> str:
    """Write *table* as XNAT's ``ResultSet`` XML. Values are escaped in full, so that the document always parses."""
    total = f' totalRecords="{table.total_records}"' if table.counted else ""
    title = f' title="{escape(table.title)}"' if table.title is not None else ""
    columns = "".join(f"<column>{escape(c, quote=False)}</column>" for c in table.columns)
    rows = "".join(
        "<row>" + "".join(f"<cell>{_cell(row.get(c, ''))}</cell>" for c in table.columns) + "</row>\n"
        for row in table.rows
    )
    return f"<ResultSet{total}{title}><results><columns>{columns}</columns>\n<rows>{rows}</rows></results></ResultSet>"


def _cell(text: str) -> str:
    """A value in the XML; of the entities that values are stored with, ``&quot;`` is a quote there (recorded)."""
    return escape(text.replace("&quot;", '"'), quote=False)


def encode_html(table: Table) -> str:
    """Write *table* as an HTML table (no page around it)."""
    head = "".join(f"<th>{escape(c)}</th>" for c in table.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(row.get(c, ''))}</td>" for c in table.columns) + "</tr>\n" for row in table.rows
    )
    return f'<table class="x_rs_t" cellpadding="0" cellspacing="0"><tr>{head}</tr>\n{rows}</table>'


def decode_rows(text: str) -> list[Row]:
    """Read the rows of a JSON ``ResultSet``; numbers and nulls become strings.

    Raises:
        TableError: The text is no JSON, or holds no ``ResultSet``.
    """
    try:
        answer = json.loads(text)
        result = answer["ResultSet"]["Result"]
        return [{str(k): "" if v is None else str(v) for k, v in row.items()} for row in result]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TableError(f"not a ResultSet: {text[:80]!r}") from error
