"""What a person looks at: a session at a glance, its steps in columns, its lists in pages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from ...schemas.graph import Operation, Proposal, Variable, number
from ..extensions.operations import LOSSES
from .backend import Backend
from .dbapi import ALL, Connection, Row
from .news import CHANGES, NEWEST_RUN, mark
from .rows import columns, dumps, listed, row, rows, to_operation, to_proposal, to_variable


@dataclass(frozen=True)
class OverviewRows:
    """What the page shows; each method is one transaction."""

    db: Backend

    async def revision(self, session: int) -> str:
        """A mark that differs as soon as anything in the session has changed."""

        def job(db: Connection) -> str:
            sql = f"SELECT {CHANGES} FROM sessions s {NEWEST_RUN} WHERE s.pk = ?"
            return "".join(map(mark, rows(db, sql, session)))

        return await self.db.read(job, session=session, single=True)

    async def step_columns(self, session: int) -> dict[str, list[Any]]:
        """All steps, the oldest first, one list a column.

        Of a refused step `after`, `gain`, `error` and `p` are those of its best proposal.
        """

        def job(db: Connection) -> dict[str, list[Any]]:
            sql = (
                "SELECT n, accepted, before, coalesce(after, before + gain, "
                "(SELECT max(score) FROM proposals p INDEXED BY proposals_of_step "
                "WHERE p.session = s.session AND p.step = s.n)) AS after, "
                "gain, error, p, examples, split, created FROM steps s "
                "WHERE session = ? ORDER BY n"
            )
            return columns(db, sql, session)

        return await self.db.read(job, session=session, single=True)

    async def step(self, session: int, n: int) -> dict[str, Any] | None:
        """One step with the gate's words, or None where there is none."""

        def job(db: Connection) -> dict[str, Any] | None:
            found = row(db, "SELECT * FROM steps WHERE session = ? AND n = ?", session, n)
            return dict(found) if found else None

        return await self.db.read(job, session=session, single=True)

    async def step_proposals(self, session: int, n: int) -> list[Proposal]:
        """What a step proposed, in the order it was proposed."""

        def job(db: Connection) -> list[Proposal]:
            sql = (
                "SELECT * FROM proposals INDEXED BY proposals_of_step "
                "WHERE session = ? AND step = ? ORDER BY n"
            )
            return [to_proposal(r) for r in rows(db, sql, session, n)]

        return await self.db.read(job, session=session, single=True)

    async def version_columns(
        self, session: int, newest: int | None = None
    ) -> dict[str, list[Any]]:
        """The versions of all leaves in the order they came, one list a column, without texts.

        With `newest`, so many of the last.
        """

        def job(db: Connection) -> dict[str, list[Any]]:
            sql = (
                "SELECT 'v' || variable AS variable, version, origin, step FROM versions "
                "WHERE session = ? ORDER BY created DESC, variable DESC, version DESC LIMIT ?"
            )
            found = columns(db, sql, session, ALL if newest is None else newest)
            return {name: column[::-1] for name, column in found.items()}

        return await self.db.read(job, session=session, single=True)

    async def learnt(self, session: int, limit: int | None = None) -> list[Variable]:
        """The parameters and demonstrations, which steps change, in the order they were made."""

        def job(db: Connection) -> list[Variable]:
            sql = (
                "SELECT * FROM variables WHERE session = ? "
                "AND kind IN ('parameter', 'demonstrations') ORDER BY n LIMIT ?"
            )
            found = rows(db, sql, session, ALL if limit is None else limit)
            return [to_variable(r) for r in found]

        return await self.db.read(job, session=session, single=True)

    async def answer_fields(self, session: int) -> list[str]:
        """The fields of examples that hold right answers."""

        def job(db: Connection) -> list[str]:
            sql = (
                "SELECT DISTINCT field FROM variables WHERE session = ? AND reference "
                "AND field IS NOT NULL ORDER BY field"
            )
            return [r["field"] for r in rows(db, sql, session)]

        return await self.db.read(job, session=session, single=True)

    async def losses(self, session: int, limit: int) -> list[Operation]:
        """The operations that make losses, in the order they were made."""
        kinds = dumps(list(LOSSES))

        def job(db: Connection) -> list[Operation]:
            sql = (
                "SELECT * FROM operations WHERE session = ? "
                "AND kind IN (SELECT atom FROM json_each(?)) ORDER BY n LIMIT ?"
            )
            return [to_operation(r) for r in rows(db, sql, session, kinds, limit)]

        return await self.db.read(job, session=session, single=True)

    async def readings(self, session: int, limit: int) -> list[dict[str, Any]]:
        """The newest evaluations, the oldest of them first, without the examples' scores."""

        def job(db: Connection) -> list[dict[str, Any]]:
            sql = (
                "SELECT 'v' || loss AS loss, split, versions, mean, error, examples, created "
                "FROM evaluations WHERE session = ? ORDER BY n DESC LIMIT ?"
            )
            found = rows(db, sql, session, limit)[::-1]
            return [dict(r) | {"versions": json.loads(r["versions"])} for r in found]

        return await self.db.read(job, session=session, single=True)

    async def evaluation_of(
        self, session: int, loss: str, split: str, versions: Mapping[str, int]
    ) -> tuple[int, str] | None:
        """The newest evaluation of these versions that kept its examples' scores: its number, and
        when it was made."""

        def job(db: Connection) -> tuple[int, str] | None:
            sql = (
                "SELECT n, created, versions FROM evaluations WHERE session = ? AND loss = ? "
                "AND split = ? AND scores IS NOT NULL ORDER BY n DESC"
            )
            with closing(db.execute(sql, (session, number(loss, "v"), split))) as found:
                for r in found:
                    had = json.loads(r["versions"])
                    if all(had.get(v, n) == n for v, n in versions.items()):
                        return r["n"], r["created"]
            return None

        return await self.db.read(job, session=session, single=True)

    async def scores_of(self, session: int, evaluation: int) -> dict[int, float]:
        """The score of each example in an evaluation; empty where they were not kept."""
        kept = await self._kept(session, evaluation)
        return {int(key): score for key, score in kept.items() if key.isdigit()}

    async def by_model(self, session: int, evaluation: int) -> dict[str, float]:
        """The mean score of each of several models in an evaluation; empty for a single one."""
        kept = await self._kept(session, evaluation)
        return {key: score for key, score in kept.items() if not key.isdigit()}

    async def _kept(self, session: int, evaluation: int) -> dict[str, float]:
        def job(db: Connection) -> dict[str, float]:
            sql = "SELECT scores FROM evaluations WHERE session = ? AND n = ?"
            found = row(db, sql, session, evaluation)
            return json.loads(found["scores"]) if found and found["scores"] else {}

        return await self.db.read(job, session=session, single=True)

    async def run_calls(self, session: int, run: int) -> list[dict[str, Any]]:
        """How many calls of a run there are, by status and purpose."""
        sql = (
            "SELECT status, purpose, count(*) AS calls FROM calls INDEXED BY calls_by_run "
            "WHERE session = ? AND run = ? GROUP BY status, purpose ORDER BY status, purpose"
        )
        return await listed(self.db, sql, session, run)

    async def addresses(self, session: int) -> list[tuple[str, dict[str, Any]]]:
        """The models with their parameters that the session's calls went to.

        Of each run and purpose the first and the last call are looked at.
        """

        def job(db: Connection) -> list[tuple[str, dict[str, Any]]]:
            sql = (
                "WITH ends AS (SELECT min(n) AS low, max(n) AS high FROM calls "
                "WHERE session = :s GROUP BY run, purpose), "
                "picked AS (SELECT low AS n FROM ends UNION SELECT high FROM ends) "
                "SELECT DISTINCT json_extract(c.request, '$.model') AS model, "
                "json_extract(c.request, '$.params') AS params "
                "FROM picked CROSS JOIN calls c ON c.session = :s AND c.n = picked.n"
            )
            found = db.execute(sql, {"s": session}).fetchall()
            return [(r["model"], json.loads(r["params"])) for r in found]

        return await self.db.read(job, session=session, single=True)

    async def call_numbers(self, session: int, keys: Iterable[str]) -> dict[str, int]:
        """The numbers of the calls that are recorded under these keys."""
        wanted = dumps(list(keys))

        def job(db: Connection) -> dict[str, int]:
            sql = (
                "SELECT c.key, c.n FROM json_each(?) j CROSS JOIN calls c "
                "ON c.session = ? AND c.key = j.atom"
            )
            return {r["key"]: r["n"] for r in rows(db, sql, wanted, session)}

        return await self.db.read(job, session=session, single=True)

    async def call_figures(self, session: int) -> list[Row]:
        """When each call was asked, and its tokens and cost, in the order they were asked."""

        def job(db: Connection) -> list[Row]:
            sql = (
                "SELECT created, prompt_tokens + completion_tokens AS tokens, cost FROM calls "
                "WHERE session = ? AND status != 'pending' ORDER BY n"
            )
            return rows(db, sql, session)

        return await self.db.read(job, session=session, single=True)

    async def split_mark(self, session: int, split: str) -> tuple[int, int]:
        """How many examples a split has, and the number of the last (0 where there is none)."""

        def job(db: Connection) -> tuple[int, int]:
            sql = (
                "SELECT count(*), coalesce(max(n), 0) FROM examples WHERE session = ? AND split = ?"
            )
            [found] = rows(db, sql, session, split)
            return found[0], found[1]

        return await self.db.read(job, session=session, single=True)

    async def split_page(self, session: int, split: str, offset: int, limit: int) -> list[int]:
        """The numbers of a page of a split's examples, in the order they came."""

        def job(db: Connection) -> list[int]:
            sql = (
                "SELECT n FROM examples WHERE session = ? AND split = ? ORDER BY n LIMIT ? OFFSET ?"
            )
            return [r["n"] for r in rows(db, sql, session, split, limit, offset)]

        return await self.db.read(job, session=session, single=True)

    async def shared(self, sessions: Sequence[int], split: str) -> dict[int, list[int]]:
        """The examples of a split that all of these sessions have: of each session their numbers,
        the same example at the same place."""

        def job(db: Connection) -> dict[int, list[int]]:
            sql = (
                "WITH mine AS (SELECT e.session, e.n, e.digest FROM json_each(:pks) j CROSS JOIN "
                "examples e INDEXED BY examples_once ON e.session = j.value AND e.split = :split) "
                "SELECT session, n FROM mine WHERE digest IN (SELECT digest FROM mine "
                "GROUP BY digest HAVING count(*) = :most) ORDER BY session, digest"
            )
            found: dict[int, list[int]] = {pk: [] for pk in sessions}
            given = {"pks": dumps(list(sessions)), "split": split, "most": len(sessions)}
            both = columns(db, sql, given)
            for pk, n in zip(both["session"], both["n"], strict=True):
                found[pk].append(n)
            return found

        return await self.db.read(job)

    async def counts(self, sessions: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Of each session: how many steps it took and accepted, and the first and the latest
        score on the split that says most (test, then validation)."""
        wanted = dumps(list(sessions))

        def job(db: Connection) -> dict[int, dict[str, Any]]:
            sql = (
                "SELECT j.value AS pk, "
                "(SELECT count(*) FROM steps s WHERE s.session = j.value) AS steps, "
                "(SELECT count(*) FROM steps s WHERE s.session = j.value AND accepted) "
                "AS accepted FROM json_each(?) j"
            )
            found = {r["pk"]: dict(r) | {"score": None} for r in rows(db, sql, wanted)}
            for pk, one in found.items():
                one["score"] = _first_and_latest(db, pk)
            return found

        return await self.db.read(job)


def _first_and_latest(db: Connection, session: int) -> dict[str, Any] | None:
    for split in ("test", "validation", "train"):
        sql = "SELECT mean, examples FROM evaluations WHERE session = ? AND split = ? ORDER BY n"
        first = row(db, f"{sql} LIMIT 1", session, split)
        latest = row(db, f"{sql} DESC LIMIT 1", session, split)
        if first and latest:
            return {
                "split": split,
                "first": first["mean"],
                "latest": latest["mean"],
                "examples": latest["examples"],
            }
    return None
