"""Taking out what was added by mistake, and mending examples. What was paid for stays, and so does
what happened: calls, steps, proposals, versions. What a thing was is kept under its number."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...schemas.errors import BadInput, NotFound
from ...schemas.graph import number
from .admission import check_idle
from .backend import Backend
from .dbapi import Connection, Row
from .examples import digest_of_fields, likeness_of, set_batch
from .graph import DOWNSTREAM
from .quotas import bounded
from .rows import dumps, now, row, rows

PREFIXES = {"variables": "v", "operations": "op", "examples": "e"}
UNSAID = ("session", "n", "dirty", "digest", "file", "value")
"""Columns that mean nothing once a thing is gone, or (a value) that its versions hold."""
IN_JSON = ("constraints", "inputs", "spec", "fields")


@dataclass(frozen=True)
class Removal:
    """Taking variables out of a graph; each method is one transaction."""

    db: Backend

    async def remove(self, session: int, variables: Iterable[str], examples: Iterable[int]) -> None:
        """Take out variables with all that is made from them, and examples.

        Raises Conflict while a run is active.
        """
        sources = [number(v, "v") or 0 for v in variables]
        places = sorted(examples)

        def job(db: Connection) -> None:
            check_idle(db, session)
            if sources:
                _remove_variables(db, session, sources)
            if places:
                _forget(db, session, places)
                _bury(db, session, "examples", places)
                _use_no_more(db, session, places)
            _changed(db, session)

        await self.db.write(job, session=session)

    async def mend(
        self, session: int, split: str, changes: Mapping[int, Mapping[str, str]]
    ) -> None:
        """Give fields of a split's examples other texts; what was computed from them is dropped.

        Raises NotFound, BadInput where two would be the same, Conflict while a run is active.
        """

        def job(db: Connection) -> None:
            check_idle(db, session)
            for n, fields in changes.items():
                _mend(db, session, split, n, fields)
            _forget(db, session, list(changes))
            _stale(db, session)
            _changed(db, session)

        await self.db.write(bounded(job, session, self.db.quota_bytes), session=session)

    async def unspent_from(
        self, session: int, variables: Iterable[str], examples: Iterable[int]
    ) -> int:
        """How many gradients that no step has used are on or from these."""
        on, criticised = set(variables), {f"e{n}" for n in examples}

        def job(db: Connection) -> int:
            return sum(_rests_on(r, on, criticised) for r in _unspent(db, session))

        return await self.db.read(job, session=session, single=True)

    async def removed(self, session: int, id_: str) -> dict[str, Any] | None:
        """What the variable, operation or example with this id was, if it was taken out."""
        kinds = [(kind, number(id_, prefix)) for kind, prefix in PREFIXES.items()]
        found = [(kind, n) for kind, n in kinds if n is not None]

        def job(db: Connection) -> dict[str, Any] | None:
            sql = "SELECT was FROM removed WHERE session = ? AND kind = ? AND n = ?"
            was = row(db, sql, session, *found[0])
            return _with_ids(json.loads(was["was"])) if was else None

        return await self.db.read(job, session=session, single=True) if found else None


def _with_ids(was: dict[str, Any]) -> dict[str, Any]:
    """What a thing was, with the ids of others in place of their numbers."""
    said = dict(was)
    for key, prefix in (("operation", "op"), ("output", "v"), ("system", "v")):
        if isinstance(was.get(key), int):
            said[key] = f"{prefix}{was[key]}"
    if isinstance(was.get("inputs"), dict):
        said["inputs"] = {name: f"v{n}" for name, n in was["inputs"].items()}
    return said


def _remove_variables(db: Connection, session: int, sources: Sequence[int]) -> None:
    args = {"sources": dumps(sources), "s": session}
    down = [r["n"] for r in db.execute(DOWNSTREAM + "SELECT n FROM down", args).fetchall()]
    sql = (
        "SELECT v.operation FROM json_each(?) j CROSS JOIN variables v "
        "ON v.session = ? AND v.n = j.value WHERE v.operation IS NOT NULL"
    )
    made_by = [r["operation"] for r in rows(db, sql, dumps(down), session)]
    _drop_gradients(db, session, {f"v{n}" for n in down}, set())
    some = "WHERE session = ? AND {} IN (SELECT value FROM json_each(?))"
    for table, column in (("edges", "output"), ("cells", "variable")):
        db.execute(f"DELETE FROM {table} {some.format(column)}", (session, dumps(down)))
    _bury(db, session, "operations", made_by)
    _bury(db, session, "variables", down)


def _bury(db: Connection, session: int, table: str, numbers: Sequence[int]) -> None:
    """Move rows to where nothing but their numbers and what they were is known of them."""
    which = dumps(list(numbers))
    some = f"FROM {table} WHERE session = ? AND n IN (SELECT value FROM json_each(?))"
    for r in rows(db, f"SELECT * {some}", session, which):
        kept = {key: r[key] for key in r.keys() if key not in UNSAID}  # noqa: SIM118
        was = kept | {key: json.loads(kept[key]) for key in IN_JSON if key in kept}
        db.execute(
            "INSERT INTO removed VALUES (?,?,?,?,?)", (session, table, r["n"], dumps(was), now())
        )
    db.execute(f"DELETE {some}", (session, which))


def _mend(db: Connection, session: int, split: str, n: int, fields: Mapping[str, str]) -> None:
    found = row(db, "SELECT split, fields FROM examples WHERE session = ? AND n = ?", session, n)
    if found is None or found["split"] != split:
        where = f"is in {found['split']}" if found else "is not there"
        raise NotFound(
            f"{split} has no example e{n}: it {where}. Nothing was changed.",
            "Name the split that it is in; inspect(session_id, what='examples') lists them.",
        )
    mended = json.loads(found["fields"]) | dict(fields)
    digest = digest_of_fields(mended)
    sql = "SELECT n FROM examples WHERE session = ? AND split = ? AND digest = ?"
    twin = row(db, sql, session, split, digest)
    if twin is not None and twin["n"] != n:
        raise BadInput(
            f"e{n} would be the same as e{twin['n']}. Nothing was changed.",
            f"Take one of them out: revert(session_id, remove=['e{n}']).",
        )
    sql = "UPDATE examples SET fields = ?, digest = ?, likeness = ? WHERE session = ? AND n = ?"
    db.execute(sql, (dumps(mended), digest, likeness_of(mended), session, n))


def _forget(db: Connection, session: int, places: Sequence[int]) -> None:
    """Drop what was computed and what is about to be learnt from examples."""
    db.execute(
        "DELETE FROM cells WHERE session = ? AND variable IN "
        "(SELECT n FROM variables WHERE session = ? AND per_example) "
        "AND place IN (SELECT value FROM json_each(?))",
        (session, session, dumps(list(places))),
    )
    _drop_gradients(db, session, set(), {f"e{n}" for n in places})


def _drop_gradients(db: Connection, session: int, variables: set[str], examples: set[str]) -> None:
    """Delete the unspent gradients on or from these, and take examples out of others' batches."""
    for r in _unspent(db, session):
        if _rests_on(r, variables, examples):
            db.execute("DELETE FROM gradients WHERE session = ? AND n = ?", (session, r["n"]))
        elif examples & set(json.loads(r["batch"])):
            left = dumps([e for e in json.loads(r["batch"]) if e not in examples])
            sql = "UPDATE gradients SET batch = ? WHERE session = ? AND n = ?"
            db.execute(sql, (left, session, r["n"]))


def _unspent(db: Connection, session: int) -> list[Row]:
    sql = (
        "SELECT * FROM gradients INDEXED BY gradients_unspent WHERE session = ? "
        "AND spent_by IS NULL"
    )
    return rows(db, sql, session)


def _rests_on(gradient: Row, variables: set[str], examples: set[str]) -> bool:
    about = {f"v{gradient['variable']}", *json.loads(gradient["losses"])}
    return bool(about & variables or examples & set(json.loads(gradient["examples"])))


def _use_no_more(db: Connection, session: int, places: Sequence[int]) -> None:
    gone = set(places)
    [found] = rows(db, "SELECT batch FROM sessions WHERE pk = ?", session)
    set_batch(db, session, [n for n in json.loads(found["batch"]) if n not in gone])
    _stale(db, session)  # without a batch of its own, a session uses the first examples


def _stale(db: Connection, session: int) -> None:
    db.execute(
        "UPDATE variables SET dirty = TRUE WHERE session = ? AND per_example AND kind = 'output'",
        (session,),
    )


def _changed(db: Connection, session: int) -> None:
    """Note the change. A run that failed stood on what was there before: it cannot go on."""
    db.execute(
        "UPDATE runs SET status = 'cancelled', updated = ? WHERE session = ? AND status = 'failed' "
        "AND n = (SELECT max(n) FROM runs WHERE session = ?)",
        (now(), session, session),
    )
    db.execute("UPDATE sessions SET updated = ? WHERE pk = ?", (now(), session))
