"""The completion ledger's rows: what was asked, what came back, what it cost."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from ...schemas.completions import Completion, CompletionRequest, Usage
from ..answerers import Attempt
from .budgets import Budgets, Price, reserve
from .database import Chain, Database
from .rows import Fence, dumps, next_number, now, row, rows, to_completion

FREE = Price()
UNLIMITED = Budgets({}, {})


class LedgerVerbs:
    """The store's verbs on calls; each is one transaction."""

    db: Database

    async def answered(self, session: int, key: str) -> Completion | None:
        """The completion of the request with this key, if there is one."""

        def job(db: sqlite3.Connection) -> Completion | None:
            sql = "SELECT * FROM calls WHERE session = ? AND key = ? AND status != 'pending'"
            found = row(db, sql, session, key)
            return to_completion(found) if found else None

        return await self.db.read(job, single=True)

    async def last_answered(self, session: int, answerer: str) -> CompletionRequest | None:
        """The session's newest request with an answer by `answerer` that is no refusal."""

        def job(db: sqlite3.Connection) -> CompletionRequest | None:
            sql = (
                "SELECT request FROM calls WHERE session = ? AND answerer = ? "
                "AND status = 'answered' AND refusal IS NULL ORDER BY n DESC LIMIT 1"
            )
            found = row(db, sql, session, answerer)
            return CompletionRequest.model_validate_json(found["request"]) if found else None

        return await self.db.read(job, single=True)

    async def open_call(
        self,
        session: int,
        request: CompletionRequest,
        fence: Fence | None,
        answerer: str,
        price: Price = FREE,
        budgets: Budgets = UNLIMITED,
        chain: Chain | None = None,
        *,
        lazily: bool = False,
    ) -> int:
        """Record that a completion is needed (once for each key); gives the call's number.

        What it may cost is set aside first: raises BudgetExhausted when that is not left,
        QuotaExceeded when its owner may make no more, and Conflict when the run that `fence`
        names is no longer its owner's. With `chain`, the call is on disk once that is settled;
        `lazily`, it is written with whatever is written next.
        """
        run = fence[0] if fence else None

        def job(db: sqlite3.Connection) -> int:
            sql = "SELECT n FROM calls WHERE session = ? AND key = ?"
            found = row(db, sql, session, request.key)
            if found is not None:
                db.execute(
                    "UPDATE calls SET run = ?, answerer = ? WHERE session = ? AND n = ?",
                    (run, answerer, session, found["n"]),
                )
                return int(found["n"])
            reserve(db, session, fence, price, budgets)
            n = next_number(db, "calls", session)
            db.execute(
                "INSERT INTO calls (session, n, key, purpose, about, run, request, answerer, "
                "status, reserved_tokens, reserved_cost, created) "
                "VALUES (?,?,?,?,?,?,?,?,'pending',?,?,?)",
                (
                    session,
                    n,
                    request.key,
                    request.purpose,
                    request.about,
                    run,
                    request.model_dump_json(),
                    answerer,
                    price.tokens,
                    price.cost,
                    now(),
                ),
            )
            return n

        return await self.db.write(job, join=chain, lazily=lazily)

    async def answer(
        self,
        session: int,
        answers: Mapping[int, Completion],
        attempts: Sequence[Attempt] = (),
        chain: Chain | None = None,
    ) -> list[int]:
        """Record completions; gives the numbers that were still pending and now are not.

        `attempts` are the tries that brought them, in the same order. Raises StoreError if what
        came before in `chain` was lost.
        """

        def job(db: sqlite3.Connection) -> list[int]:
            for n, attempt in zip(answers, attempts, strict=False):
                _note(db, session, n, attempt)
            taken = [n for n, c in answers.items() if _answer(db, session, n, c)]
            used = [answers[n].usage for n in taken]
            db.execute(
                "UPDATE sessions SET used_calls = used_calls + ?, used_tokens = used_tokens + ?, "
                "used_cost = used_cost + ?, updated = ? WHERE pk = ?",
                (
                    len(taken),
                    sum(u.prompt_tokens + u.completion_tokens for u in used),
                    sum(u.cost or 0.0 for u in used),
                    now(),
                    session,
                ),
            )
            return taken

        return await self.db.write(job, after=chain)

    async def refuse(self, session: int, call: int, why: str) -> None:
        """Close a pending call that the endpoint will not answer, for its prompt's sake.

        The same request may be asked afresh: of an endpoint that was set up anew.
        """
        refused = Completion(text="", finish="refused", refusal=why)

        def job(db: sqlite3.Connection) -> None:
            if _answer(db, session, call, refused):
                db.execute(
                    "UPDATE calls SET status = 'unusable', key = key || '-' || n "
                    "WHERE session = ? AND n = ?",
                    (session, call),
                )
                db.execute(
                    "UPDATE sessions SET used_calls = used_calls + 1, updated = ? WHERE pk = ?",
                    (now(), session),
                )

        await self.db.write(job)

    async def note_attempt(self, session: int, call: int, attempt: Attempt) -> None:
        """Record one try at a call."""

        def job(db: sqlite3.Connection) -> None:
            _note(db, session, call, attempt)

        await self.db.write(job)

    async def pending(self, session: int, run: int) -> list[tuple[int, CompletionRequest]]:
        """A run's calls that nobody has answered, in the order they were asked.

        Without those that a program of the operator answers: they are nobody else's business.
        """

        def job(db: sqlite3.Connection) -> list[tuple[int, CompletionRequest]]:
            sql = (
                "SELECT n, request FROM calls WHERE session = ? AND status = 'pending' "
                "AND run = ? AND answerer NOT GLOB 'evaluator *' ORDER BY n"
            )
            found = rows(db, sql, session, run)
            return [(r["n"], CompletionRequest.model_validate_json(r["request"])) for r in found]

        return await self.db.read(job, single=True)

    async def call_states(self, session: int, numbers: list[int]) -> dict[int, str]:
        """The status of the calls that exist among `numbers`."""

        def job(db: sqlite3.Connection) -> dict[int, str]:
            sql = (
                "SELECT c.n, c.status FROM json_each(?) j CROSS JOIN calls c "
                "ON c.session = ? AND c.n = j.value"
            )
            return {r["n"]: r["status"] for r in rows(db, sql, dumps(numbers), session)}

        return await self.db.read(job, single=True)

    async def set_unusable(self, session: int, key: str) -> None:
        """Mark an answered call as one whose reply could not be used."""

        def job(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE calls SET status = 'unusable' WHERE session = ? AND key = ? "
                "AND status = 'answered'",
                (session, key),
            )

        await self.db.write(job)

    async def retire_unusable(self, session: int) -> None:
        """Let unusable replies be asked for afresh; their rows and cost stay.

        Those of earlier runs too: a later run may stumble over them.
        """

        def job(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE calls SET key = key || '-' || n WHERE session = ? "
                "AND status = 'unusable' AND length(key) = 32",
                (session,),
            )

        await self.db.write(job)

    async def usage(self, session: int, run: int | None = None) -> dict[str, dict[str, float]]:
        """Totals by purpose: calls, tokens, seconds and cost of what was answered.

        A session's are kept up to date with every answer; a run's are added up.
        """

        def job(db: sqlite3.Connection) -> dict[str, dict[str, float]]:
            if run is None:
                sql = (
                    "SELECT purpose, calls, prompt_tokens, completion_tokens, cached_tokens, "
                    "round(seconds, 3) AS seconds, cost FROM spent WHERE session = ? "
                    "ORDER BY purpose"
                )
            else:
                sql = (
                    "SELECT purpose, count(*) AS calls, sum(prompt_tokens) AS prompt_tokens, "
                    "sum(completion_tokens) AS completion_tokens, sum(cached_tokens) AS "
                    "cached_tokens, round(sum(latency), 3) AS seconds, sum(cost) AS cost "
                    "FROM calls WHERE session = ? AND run = ? AND status != 'pending' "
                    "GROUP BY purpose ORDER BY purpose"
                )
            found = rows(db, sql, *([session] if run is None else [session, run]))
            return {r["purpose"]: {k: r[k] for k in r.keys()[1:] if r[k]} for r in found}

        return await self.db.read(job, single=True)

    async def calls(
        self, session: int, limit: int, before: int | None = None
    ) -> list[dict[str, object]]:
        """The latest calls, newest first, without their texts."""

        def job(db: sqlite3.Connection) -> list[dict[str, object]]:
            sql = (
                "SELECT 'c' || n AS id, purpose, about, status, model, answerer, prompt_tokens, "
                "completion_tokens, cost, round(latency, 3) AS seconds, finish, created FROM "
                "calls WHERE session = ? AND n < ? ORDER BY n DESC LIMIT ?"
            )
            top = before if before is not None else 1 << 62
            return [dict(r) for r in rows(db, sql, session, top, limit)]

        return await self.db.read(job, single=True)

    async def call(self, session: int, n: int) -> dict[str, object] | None:
        """One call whole: request, reply, attempts."""

        def job(db: sqlite3.Connection) -> dict[str, object] | None:
            found = row(db, "SELECT * FROM calls WHERE session = ? AND n = ?", session, n)
            if found is None:
                return None
            sql = (
                "SELECT outcome, round(latency, 3) AS seconds, detail, created FROM attempts "
                "WHERE session = ? AND call = ? ORDER BY rowid"
            )
            attempts = [dict(r) for r in rows(db, sql, session, n)]
            return dict(found) | {"attempts": attempts}

        return await self.db.read(job)


def _note(db: sqlite3.Connection, session: int, call: int, attempt: Attempt) -> None:
    db.execute(
        "INSERT INTO attempts VALUES (?,?,?,?,?,?)",
        (session, call, attempt.outcome, attempt.latency, attempt.detail, now()),
    )


def _answer(db: sqlite3.Connection, session: int, n: int, completion: Completion) -> bool:
    usage: Usage = completion.usage
    cursor = db.execute(
        "UPDATE calls SET status = 'answered', text = ?, finish = ?, refusal = ?, reasoning = ?, "
        "model = ?, prompt_tokens = ?, completion_tokens = ?, cached_tokens = ?, cost = ?, "
        "latency = ?, answered = ? WHERE session = ? AND n = ? AND status = 'pending'",
        (
            completion.text,
            completion.finish,
            completion.refusal,
            completion.reasoning,
            completion.model,
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.cached_tokens,
            usage.cost,
            completion.latency,
            now(),
            session,
            n,
        ),
    )
    if cursor.rowcount != 1:
        return False
    db.execute(
        "INSERT INTO spent SELECT session, purpose, 1, prompt_tokens, completion_tokens, "
        "cached_tokens, latency, cost FROM calls WHERE session = ? AND n = ? "
        "ON CONFLICT DO UPDATE SET calls = calls + 1, "
        "prompt_tokens = prompt_tokens + excluded.prompt_tokens, "
        "completion_tokens = completion_tokens + excluded.completion_tokens, "
        "cached_tokens = cached_tokens + excluded.cached_tokens, "
        "seconds = seconds + excluded.seconds, "
        "cost = CASE WHEN cost IS NULL THEN excluded.cost "
        "ELSE cost + coalesce(excluded.cost, 0) END",
        (session, n),
    )
    db.execute(
        "UPDATE runs SET used_tokens = used_tokens + ?, used_cost = used_cost + ? "
        "WHERE session = ? AND n = (SELECT run FROM calls WHERE session = ? AND n = ?)",
        (usage.prompt_tokens + usage.completion_tokens, usage.cost or 0.0, session, session, n),
    )
    return True
