"""What a report is made of: evaluations, counts of proposals, and the lineage of a text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...schemas.graph import Fate, number
from .backend import Backend, Chain
from .dbapi import Connection
from .rows import RunFence, check_fence, dumps, listed, next_number, now, row, rows
from .runs import set_state


@dataclass(frozen=True)
class EvaluationRows:
    """Measured scores; each method is one transaction."""

    db: Backend

    async def add(
        self,
        session: int,
        loss: str,
        split: str,
        versions: Mapping[str, int],
        mean: float,
        error: float | None,
        examples: int,
        fence: RunFence | None,
        state: dict[str, Any],
        chain: Chain | None = None,
        scores: Mapping[int, float] | None = None,
        by_model: Mapping[str, float] | None = None,
    ) -> tuple[int, int]:
        """Remember a split's score, and the `scores` of its examples by number, beside them those
        of several models by name.

        Gives how often the test split has been read by now, and how many different texts it
        has measured (0 where another split is noted). The run remembers `state` with these as
        `reads`: killed before its end, it must not count twice. With `chain`, all is on disk once
        that is settled.
        """

        kept = {str(place): score for place, score in (scores or {}).items()} | dict(by_model or {})

        def job(db: Connection) -> tuple[int, int]:
            check_fence(db, session, fence)
            n = next_number(db, "evaluations", session)
            db.execute(
                "INSERT INTO evaluations VALUES (?,?,?,?,?,?,?,?,?,?)",
                (
                    session,
                    n,
                    number(loss, "v"),
                    split,
                    dumps(dict(versions)),
                    mean,
                    error,
                    examples,
                    now(),
                    dumps(kept) if kept else None,
                ),
            )
            sql = (
                "UPDATE sessions SET test_reads = test_reads + ?, updated = ? "
                "WHERE pk = ? RETURNING test_reads"
            )
            reads = int(rows(db, sql, int(split == "test"), now(), session)[0][0])
            sql = (
                "SELECT count(DISTINCT versions) FROM evaluations "
                "WHERE session = ? AND split = 'test'"
            )
            known = reads, int(rows(db, sql, session)[0][0]) if split == "test" else 0
            set_state(db, session, fence, state | {"reads": known})
            return known

        return await self.db.write(job, session=session, join=chain)

    async def measured(
        self, session: int, loss: str, split: str, versions: Mapping[str, int]
    ) -> bool:
        """Whether these versions of the parameters were measured on a split by a loss."""

        def job(db: Connection) -> bool:
            sql = (
                "SELECT 1 FROM evaluations WHERE session = ? AND split = ? AND versions = ? "
                "AND loss = ? LIMIT 1"
            )
            known = dumps(dict(versions))
            return row(db, sql, session, split, known, number(loss, "v")) is not None

        return await self.db.read(job, session=session, single=True)

    async def latest(self, session: int, limit: int = 20) -> list[dict[str, Any]]:
        """The latest evaluations, newest first."""
        sql = (
            "SELECT 'v' || loss AS loss, split, versions, round(mean, 4) AS mean, "
            "round(error, 4) AS error, examples, created FROM evaluations "
            "WHERE session = ? ORDER BY n DESC LIMIT ?"
        )
        return await listed(self.db, sql, session, limit)

    async def spans(self, session: int) -> list[dict[str, Any]]:
        """The `first` and the `latest` evaluation of each loss and split, how many there were, and
        how many different `texts` they measured.

        Each has its number, when it was made, its mean, standard error (None for one example),
        examples, and the `versions` of the parameters.
        """

        def job(db: Connection) -> list[dict[str, Any]]:
            sql = (
                "WITH ends AS (SELECT loss, split, min(n) AS first, max(n) AS latest, "
                "count(*) AS evaluations, count(DISTINCT versions) AS texts FROM evaluations "
                "WHERE session = ? GROUP BY loss, split) "
                "SELECT ends.loss, ends.split, evaluations, texts, e.n, created, versions, "
                "round(mean, 4) AS mean, round(error, 4) AS error, examples "
                "FROM ends CROSS JOIN evaluations e "
                "ON e.session = ? AND e.n IN (first, latest) ORDER BY first, e.n"
            )
            found: dict[tuple[int, str], dict[str, Any]] = {}
            for r in rows(db, sql, session, session):
                one = {k: r[k] for k in ("n", "created", "mean", "error", "examples")}
                one["versions"] = json.loads(r["versions"])
                span = {"loss": f"v{r['loss']}", "split": r["split"], "first": one}
                known = found.setdefault((r["loss"], r["split"]), span)
                known |= {"latest": one, "evaluations": r["evaluations"], "texts": r["texts"]}
            return list(found.values())

        return await self.db.read(job, session=session, single=True)

    async def progress(self, session: int) -> dict[str, Any]:
        """How many `steps` there were and how many were `accepted`; and in `gated`, for accepted
        steps that were compared, the score before the first and after the last (None if none
        was)."""

        def job(db: Connection) -> dict[str, Any]:
            sql = (
                "SELECT count(*) AS steps, count(CASE WHEN accepted THEN 1 END) AS accepted, "
                "count(before) AS compared, "
                "count(CASE WHEN accepted AND before IS NOT NULL THEN 1 END) AS won, "
                "min(CASE WHEN before IS NOT NULL THEN n END) AS first, "
                "max(CASE WHEN before IS NOT NULL THEN n END) AS last, "
                "max(CASE WHEN before IS NOT NULL AND accepted AND after IS NOT NULL THEN n END) "
                "AS best FROM steps WHERE session = ?"
            )
            [found] = rows(db, sql, session)
            known = {"steps": found["steps"], "accepted": int(found["accepted"]), "gated": None}
            if not found["compared"]:
                return known
            sql = "SELECT before, after, split FROM steps WHERE session = ? AND n = ?"
            [first], [last] = (rows(db, sql, session, found[end]) for end in ("first", "last"))
            best = row(db, sql, session, found["best"])
            known["gated"] = {
                "split": last["split"],
                "before": round(first["before"], 4),
                "after": round(best["after"] if best else first["before"], 4),
                "steps": found["compared"],
                "accepted": int(found["won"]),
            }
            return known

        return await self.db.read(job, session=session)

    async def verdicts(self, session: int) -> dict[str, int]:
        """How many proposals came to which fate; those that were no better are called refused."""

        def job(db: Connection) -> dict[str, int]:
            sql = (
                "SELECT fate, count(*) AS n FROM proposals WHERE session = ? "
                "GROUP BY fate ORDER BY fate != 'accepted', n DESC, fate"
            )
            found = rows(db, sql, session)
            return {_as_counted(Fate(r["fate"])): r["n"] for r in found}

        return await self.db.read(job, session=session, single=True)

    async def lineage(self, session: int, variable: str, limit: int = 20) -> list[dict[str, Any]]:
        """How a parameter came to its present text, newest first: versions, gates, gradients."""
        sql = (
            "SELECT v.version, v.origin, 's' || v.step AS step, p.reason AS gate, "
            "p.gradients, v.created FROM versions v LEFT JOIN proposals p "
            "ON p.session = v.session AND p.variable = v.variable "
            "AND p.version = v.version AND p.step = v.step "
            "WHERE v.session = ? AND v.variable = ? ORDER BY v.version DESC LIMIT ?"
        )
        return await listed(self.db, sql, session, number(variable, "v"), limit)

    async def gradient_texts(self, session: int, ids: list[str]) -> dict[str, str]:
        """The texts of gradients by id."""

        def job(db: Connection) -> dict[str, str]:
            sql = (
                "SELECT g.n, g.text FROM json_each(?) j CROSS JOIN gradients g "
                "ON g.session = ? AND g.n = j.value"
            )
            found = rows(db, sql, dumps([number(i, "g") for i in ids]), session)
            return {f"g{r['n']}": r["text"] for r in found}

        return await self.db.read(job, session=session, single=True)


def _as_counted(fate: Fate) -> str:
    refused = fate not in (Fate.ACCEPTED, Fate.TIE, Fate.BEATEN, Fate.NOT_COMPARED)
    return f"refused: {fate}" if refused else str(fate)
