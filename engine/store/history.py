"""What was learnt and changed: gradients, steps with their proposals, versions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from ...schemas.errors import Conflict
from ...schemas.graph import STATE_VERSION, Gradient, Proposal, Version, number
from .admission import check_idle
from .backend import Backend, Chain
from .dbapi import ALL, Connection
from .graph import invalidate
from .quotas import bounded
from .rows import (
    RunFence,
    check_fence,
    dumps,
    listed,
    next_number,
    now,
    row,
    rows,
    to_gradient,
    to_proposal,
    to_version,
)
from .runs import set_state


class StepRecord(BaseModel):
    """A step as stored: what was proposed, and the gate's verdict with its scores.

    `gain`, `error` and `p` are those of the proposal that was taken, else of the best one.
    """

    id: str = ""
    accepted: bool
    gate: str
    before: float | None = None
    after: float | None = None
    gain: float | None = None
    error: float | None = None
    p: float | None = None
    split: str | None = None
    examples: int = 0
    proposals: list[Proposal]

    @property
    def changed(self) -> list[str]:
        """The variables that have a new version."""
        return [p.variable for p in self.proposals if p.version is not None]


@dataclass(frozen=True)
class HistoryRows:
    """Gradients, steps and versions; each method is one transaction."""

    db: Backend

    async def add_gradients(
        self,
        session: int,
        gradients: Sequence[Gradient],
        fence: RunFence | None,
        chain: Chain | None = None,
    ) -> list[Gradient]:
        """Replace the unspent gradients of the variables these are about.

        With `chain`, they are on disk once that is settled.
        """

        def job(db: Connection) -> list[Gradient]:
            check_fence(db, session, fence)
            about = dumps(sorted({number(g.variable, "v") or 0 for g in gradients}))
            db.execute(
                "DELETE FROM gradients INDEXED BY gradients_unspent WHERE session = ? "
                "AND spent_by IS NULL AND variable IN (SELECT value FROM json_each(?))",
                (session, about),
            )
            first = next_number(db, "gradients", session)
            made = [g.model_copy(update={"id": f"g{first + i}"}) for i, g in enumerate(gradients)]
            db.executemany(
                "INSERT INTO gradients VALUES (?,?,?,?,?,?,?,?,?,?,NULL,?)",
                [
                    (
                        session,
                        number(g.id, "g"),
                        number(g.variable, "v"),
                        g.version,
                        g.text,
                        dumps(g.examples),
                        dumps(g.batch),
                        g.operation,
                        dumps(g.losses),
                        g.exact,
                        now(),
                    )
                    for g in made
                ],
            )
            return made

        return await self.db.write(
            bounded(job, session, self.db.quota_bytes), session=session, join=chain
        )

    async def gradients(
        self,
        session: int,
        variables: Iterable[str] | None = None,
        *,
        unspent: bool = True,
        limit: int | None = None,
    ) -> list[Gradient]:
        """Gradients on these variables (all when None), the oldest first; the newest `limit`."""
        most = ALL if limit is None else limit
        wanted = None if variables is None else [number(v, "v") for v in variables]

        def job(db: Connection) -> list[Gradient]:
            index = "INDEXED BY gradients_unspent" if unspent else ""
            sql = (
                f"SELECT * FROM gradients {index} WHERE session = ?"
                + (" AND spent_by IS NULL" if unspent else "")
                + (" AND variable = ?" if wanted is not None else "")
                + " ORDER BY n DESC LIMIT ?"
            )
            found = []
            for key in [()] if wanted is None else [(n,) for n in dict.fromkeys(wanted)]:
                found += rows(db, sql, session, *key, most)
            found.sort(key=lambda r: int(r["n"]))
            return [to_gradient(r) for r in (found if limit is None else found[-limit:])]

        return await self.db.read(job, session=session)

    async def with_gradients(self, session: int) -> list[str]:
        """The variables that have unspent gradients, those with the oldest first."""

        def job(db: Connection) -> list[str]:
            sql = (
                "SELECT variable FROM gradients INDEXED BY gradients_unspent WHERE session = ? "
                "AND spent_by IS NULL GROUP BY variable ORDER BY min(n)"
            )
            return [f"v{r['variable']}" for r in rows(db, sql, session)]

        return await self.db.read(job, session=session, single=True)

    async def gradient(self, session: int, id_: str) -> Gradient | None:
        """The gradient with this id (`g4`); None where there is none."""

        def job(db: Connection) -> Gradient | None:
            sql = "SELECT * FROM gradients WHERE session = ? AND n = ?"
            found = row(db, sql, session, number(id_, "g") or 0)
            return to_gradient(found) if found else None

        return await self.db.read(job, session=session, single=True)

    async def spent_gradients(
        self, session: int, variable: str, limit: int
    ) -> list[tuple[str, int | None]]:
        """The last gradients that steps have used on a parameter, the oldest first.

        Each is its text and the version that came of that step, None where it was refused.
        """

        def job(db: Connection) -> list[tuple[str, int | None]]:
            sql = (
                "SELECT g.text, (SELECT max(p.version) FROM proposals p "
                "INDEXED BY proposals_of_step WHERE p.session = g.session "
                "AND p.step = g.spent_by AND p.variable = g.variable) AS became "
                "FROM gradients g WHERE g.session = ? AND g.variable = ? "
                "AND g.spent_by IS NOT NULL ORDER BY g.n DESC LIMIT ?"
            )
            found = rows(db, sql, session, number(variable, "v"), limit)
            return [(r["text"], r["became"]) for r in reversed(found)]

        return await self.db.read(job, session=session, single=True)

    async def record_step(
        self,
        session: int,
        step: StepRecord,
        fence: RunFence | None,
        state: dict[str, Any] | None = None,
        chain: Chain | None = None,
    ) -> StepRecord:
        """Record a step, install what it accepted, spend its gradients: all or nothing.

        `state` is what the run remembers from now on; without it, the step as `recorded`, or a
        run that is killed before its end would find the texts changed under it. Raises Conflict
        when a parameter changed since the step began. With `chain`, all is on disk once that is
        settled.
        """

        def job(db: Connection) -> StepRecord:
            check_fence(db, session, fence)
            n = next_number(db, "steps", session)
            db.execute(
                "INSERT INTO steps VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                (
                    session,
                    n,
                    step.accepted,
                    step.gate,
                    step.before,
                    step.after,
                    step.split,
                    step.examples,
                    now(),
                    step.gain,
                    step.error,
                    step.p,
                ),
            )
            stored = []
            for proposal in step.proposals:
                version = None
                if proposal.verdict == "accepted":
                    version = _install(
                        db, session, proposal.variable, proposal.text, proposal.parent, "step", n
                    )
                stored.append(_add_proposal(db, session, n, proposal, version))
            spent = {g for p in step.proposals for g in p.gradients}
            db.execute(
                "UPDATE gradients SET spent_by = ? WHERE session = ? AND spent_by IS NULL "
                "AND n IN (SELECT value FROM json_each(?))",
                (n, session, dumps([number(g, "g") for g in spent])),
            )
            done = step.model_copy(update={"id": f"s{n}", "proposals": stored})
            recorded = {"version": STATE_VERSION, "recorded": done.model_dump(mode="json")}
            set_state(db, session, fence, recorded if state is None else state)
            changed = [p.variable for p in stored if p.version is not None]
            invalidate(db, session, [number(v, "v") or 0 for v in changed])
            return done

        return await self.db.write(
            bounded(job, session, self.db.quota_bytes), session=session, join=chain
        )

    async def set_value(
        self, session: int, variable: str, text: str, origin: str
    ) -> tuple[int, bool]:
        """Give a leaf a value, as a new version unless it has it already; gives its version, and
        whether that is a new one. Raises Conflict when the session has an active run."""
        n = number(variable, "v") or 0

        def job(db: Connection) -> tuple[int, bool]:
            check_idle(db, session)
            sql = "SELECT value, version FROM variables WHERE session = ? AND n = ?"
            present = row(db, sql, session, n)
            if present is not None and present["value"] == text:
                return present["version"], False
            expected = present["version"] if present is not None else 0
            version = _install(db, session, variable, text, expected, origin, None)
            invalidate(db, session, [n])
            return version, True

        return await self.db.write(bounded(job, session, self.db.quota_bytes), session=session)

    async def versions(self, session: int, variable: str, limit: int = 100) -> list[Version]:
        """A leaf's versions, newest first."""

        def job(db: Connection) -> list[Version]:
            sql = (
                "SELECT * FROM versions WHERE session = ? AND variable = ? "
                "ORDER BY version DESC LIMIT ?"
            )
            found = rows(db, sql, session, number(variable, "v"), limit)
            return [to_version(r) for r in found]

        return await self.db.read(job, session=session, single=True)

    async def version(self, session: int, variable: str, version: int) -> Version | None:
        """One version of a leaf."""

        def job(db: Connection) -> Version | None:
            sql = "SELECT * FROM versions WHERE session = ? AND variable = ? AND version = ?"
            found = row(db, sql, session, number(variable, "v"), version)
            return to_version(found) if found else None

        return await self.db.read(job, session=session, single=True)

    async def proposals(
        self, session: int, variable: str | None = None, limit: int = 50
    ) -> list[Proposal]:
        """What was proposed for a parameter (or for all), newest first."""

        def job(db: Connection) -> list[Proposal]:
            key = [number(variable, "v")] if variable else []
            sql = (
                "SELECT * FROM proposals WHERE session = ?"
                + (" AND variable = ?" if key else "")
                + " ORDER BY n DESC LIMIT ?"
            )
            return [to_proposal(r) for r in rows(db, sql, session, *key, limit)]

        return await self.db.read(job, session=session, single=True)

    async def proposal(self, session: int, id_: str) -> Proposal | None:
        """The proposal `p4`, or None where there is none."""

        def job(db: Connection) -> Proposal | None:
            sql = "SELECT * FROM proposals WHERE session = ? AND n = ?"
            found = row(db, sql, session, number(id_, "p") or 0)
            return to_proposal(found) if found else None

        return await self.db.read(job, session=session, single=True)

    async def last_step(self, session: int) -> int:
        """The number of the newest step, 0 if there is none."""

        def job(db: Connection) -> int:
            return next_number(db, "steps", session) - 1

        return await self.db.read(job, session=session, single=True)

    async def steps(self, session: int, limit: int = 50) -> list[dict[str, object]]:
        """The latest steps, newest first, without their texts."""
        sql = (
            "SELECT 's' || n AS id, accepted, gate, before, after, split, examples, created "
            "FROM steps WHERE session = ? ORDER BY n DESC LIMIT ?"
        )
        return await listed(self.db, sql, session, limit)


def _install(
    db: Connection,
    session: int,
    variable: str,
    text: str,
    expected: int,
    origin: str,
    step: int | None,
) -> int:
    n = number(variable, "v")
    sql = "SELECT version FROM variables WHERE session = ? AND n = ?"
    current = row(db, sql, session, n)
    if current is None or current["version"] != expected:
        at = current["version"] if current else "none"
        raise Conflict(
            f"{variable} changed meanwhile: it is at version {at}, not {expected}.",
            "Run backward again and then step, so that the feedback is about the present text.",
        )
    version = expected + 1
    db.execute(
        "INSERT INTO versions VALUES (?,?,?,?,?,?,?)",
        (session, n, version, text, origin, step, now()),
    )
    db.execute(
        "UPDATE variables SET value = ?, version = ? WHERE session = ? AND n = ?",
        (text, version, session, n),
    )
    return version


def _add_proposal(
    db: Connection, session: int, step: int, p: Proposal, version: int | None
) -> Proposal:
    n = next_number(db, "proposals", session)
    db.execute(
        "INSERT INTO proposals VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            session,
            n,
            step,
            number(p.variable, "v"),
            p.parent,
            p.text,
            p.verdict,
            p.reason,
            version,
            p.score,
            p.parent_score,
            p.split,
            p.examples,
            dumps(p.gradients),
            now(),
            p.fate,
            p.gain,
            p.error,
            p.p,
        ),
    )
    return p.model_copy(update={"id": f"p{n}", "step": f"s{step}", "version": version})
