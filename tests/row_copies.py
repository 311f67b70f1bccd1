"""Rows as a long life leaves them: copies of the first. Benchmarks use this, too."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping


def copy_first_row(
    db: sqlite3.Connection, table: str, session: int, times: int, changes: Mapping[str, str]
) -> None:
    """Copy the first row that a session has in `table`, numbered on from its last.

    `changes` are SQL expressions for other columns, in which k.value counts the copies from 1.
    """
    names = [r["name"] for r in db.execute(f"SELECT name FROM pragma_table_info('{table}')")]
    last = f"(SELECT max(n) FROM {table} WHERE session = {session})"
    changed = {"n": f"{last} + k.value"} | dict(changes)
    values = ", ".join(changed.get(name, f"t.{name}") for name in names)
    db.execute(
        f"INSERT INTO {table} SELECT {values} FROM {table} t, "
        "(WITH RECURSIVE k(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM k "
        "WHERE value < ?) SELECT value FROM k) k WHERE t.session = ? AND t.n = 1",
        (times, session),
    )
