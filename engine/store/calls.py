"""The completion ledger's rows: what was asked, what came back, what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...schemas.completions import Completion, CompletionRequest
from ..answerers import OUTSIDE, Attempt
from .answers import add_attempt, count_late, set_answer, storable_reply
from .backend import Backend, Chain
from .budgets import PAID, Budgets, Price, reserve
from .dbapi import Connection
from .quotas import bounded
from .rows import RunFence, dumps, listed, next_number, now, row, rows, to_completion, to_request

FREE = Price()
UNLIMITED = Budgets({}, {})
NOT_USED = "not used, for another answer came first"


@dataclass(frozen=True)
class CallRows:
    """The completion ledger's calls; each method is one transaction."""

    db: Backend

    async def answered(self, session: int, key: str) -> Completion | None:
        """The completion of the request with this key, if there is one."""

        def job(db: Connection) -> Completion | None:
            sql = "SELECT * FROM calls WHERE session = ? AND key = ? AND status != 'pending'"
            found = row(db, sql, session, key)
            return to_completion(found) if found else None

        return await self.db.read(job, session=session, single=True)

    async def last_answered(self, session: int, answerer: str) -> CompletionRequest | None:
        """The session's newest request with an answer by `answerer` that is no refusal."""

        def job(db: Connection) -> CompletionRequest | None:
            sql = (
                "SELECT request FROM calls WHERE session = ? AND answerer = ? "
                "AND status = 'answered' AND refusal IS NULL ORDER BY n DESC LIMIT 1"
            )
            found = row(db, sql, session, answerer)
            return CompletionRequest.model_validate_json(found["request"]) if found else None

        return await self.db.read(job, session=session, single=True)

    async def read_by(
        self, session: int, answerer: str, chars: int
    ) -> list[tuple[int, CompletionRequest, str]]:
        """The session's latest calls that `answerer` has answered, of about `chars` characters
        together: number, request and reply, in the order they were asked."""

        def job(db: Connection) -> list[tuple[int, CompletionRequest, str]]:
            sql = (
                "SELECT n, request, text FROM (SELECT n, request, text, sum(length(request) + "
                "length(text)) OVER (ORDER BY n DESC) AS so_far FROM calls WHERE session = ? "
                "AND answerer = ? AND status = 'answered') AS latest WHERE so_far <= ? ORDER BY n"
            )
            found = rows(db, sql, session, answerer, chars)
            return [(r["n"], to_request(r), r["text"]) for r in found]

        return await self.db.read(job, session=session, single=True)

    async def open(
        self,
        session: int,
        request: CompletionRequest,
        fence: RunFence | None,
        answerer: str,
        price: Price = FREE,
        budgets: Budgets = UNLIMITED,
        chain: Chain | None = None,
        *,
        lazily: bool = False,
    ) -> int:
        """Record that a completion is needed (once for each key); gives the call's number.

        What it may cost (`price`) is set aside first: raises BudgetExhausted when that is not left,
        QuotaExceeded when its owner may make no more, and Conflict when the run that `fence` names
        is no longer its process's. With `chain`, the call is on disk once that is settled;
        `lazily`, it is written with whatever is written next.
        """
        run = fence[0] if fence else None

        def job(db: Connection) -> int:
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
            db.later(
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

        checked = bounded(job, session, self.db.quota_bytes)
        return await self.db.write(checked, session=session, join=chain, lazily=lazily)

    async def answer(self, session: int, answers: Mapping[int, Completion]) -> list[int]:
        """Record completions; gives the numbers that were still pending and now are not.

        For the others the first answer stands.
        """

        def job(db: Connection) -> list[int]:
            return [n for n, c in answers.items() if set_answer(db, session, n, storable_reply(c))]

        return await self.db.write(job, session=session)

    async def record(
        self,
        session: int,
        call: int,
        completion: Completion,
        attempts: Sequence[Attempt] = (),
        chain: Chain | None = None,
    ) -> Completion:
        """Record the reply to a call; gives the completion that is on record from now on.

        That is another one where somebody else's came first; then this one is kept among the
        attempts, and what it cost is counted all the same. `attempts` are the tries that brought
        it. Raises StoreError if what came before in `chain` was lost.
        """
        completion = storable_reply(completion)

        def job(db: Connection) -> Completion:
            if set_answer(db, session, call, completion):
                for attempt in attempts:
                    add_attempt(db, session, call, attempt)
                return completion
            count_late(db, session, call, completion)
            for attempt in attempts or [Attempt("ok", completion.latency)]:
                late = f"{NOT_USED}: {completion.text}"
                add_attempt(db, session, call, replace(attempt, detail=late))
            sql = "SELECT * FROM calls WHERE session = ? AND n = ?"
            return to_completion(rows(db, sql, session, call)[0])

        return await self.db.write(job, session=session, after=chain)

    async def refuse(self, session: int, call: int, why: str) -> None:
        """Close a pending call that the endpoint will not answer, for its prompt's sake.

        The same request may be asked afresh: of an endpoint that was set up anew.
        """
        refused = Completion(text="", finish="refused", refusal=why)

        def job(db: Connection) -> None:
            if set_answer(db, session, call, refused):
                db.execute(
                    "UPDATE calls SET status = 'unusable', key = key || '-' || n "
                    "WHERE session = ? AND n = ?",
                    (session, call),
                )
                db.execute(
                    "UPDATE sessions SET used_calls = used_calls + 1, updated = ? WHERE pk = ?",
                    (now(), session),
                )

        await self.db.write(job, session=session)

    async def hand_in(self, session: int, answers: Mapping[int, Completion]) -> dict[int, str]:
        """Record completions that a caller hands in, by call number; gives what became of each.

        That is `taken`; `before` (an earlier answer stands); or `asked`: the server itself asks for
        it at this moment, so its own answer will be used, and this one is kept among the attempts.
        Calls that do not exist are left out.
        """

        def job(db: Connection) -> dict[int, str]:
            sql = (
                "SELECT c.n, CASE WHEN c.status != 'pending' THEN 'before' "
                "WHEN r.status = 'running' AND c.answerer NOT IN (SELECT atom FROM json_each(?)) "
                "THEN 'asked' ELSE 'taken' END AS fate FROM json_each(?) j CROSS JOIN calls c "
                "ON c.session = ? AND c.n = j.value LEFT JOIN runs r "
                "ON r.session = c.session AND r.n = c.run"
            )
            found = rows(db, sql, dumps(OUTSIDE), dumps(list(answers)), session)
            fates = {r["n"]: str(r["fate"]) for r in found}
            for n, fate in fates.items():
                if fate == "taken":
                    set_answer(db, session, n, storable_reply(answers[n]))
                elif fate == "asked":
                    late = f"{NOT_USED}: {answers[n].text}"
                    add_attempt(db, session, n, Attempt("handed in", detail=late))
            return fates

        return await self.db.write(bounded(job, session, self.db.quota_bytes), session=session)

    async def note_attempt(self, session: int, call: int, attempt: Attempt) -> None:
        """Record one try at a call."""

        def job(db: Connection) -> None:
            add_attempt(db, session, call, attempt)

        await self.db.write(job, session=session)

    async def pending(self, session: int, run: int) -> list[tuple[int, CompletionRequest]]:
        """A run's calls that nobody has answered, in the order they were asked.

        Without those that a program of the operator answers: they are nobody else's business.
        """

        def job(db: Connection) -> list[tuple[int, CompletionRequest]]:
            sql = (
                "SELECT n, request FROM calls WHERE session = ? AND status = 'pending' "
                f"AND run = ? AND {PAID} ORDER BY n"
            )
            found = rows(db, sql, session, run)
            return [(r["n"], to_request(r)) for r in found]

        return await self.db.read(job, session=session, single=True)

    async def set_unusable(self, session: int, key: str) -> None:
        """Mark the answered call with this key as one whose reply could not be used."""

        def job(db: Connection) -> None:
            db.execute(
                "UPDATE calls SET status = 'unusable' WHERE session = ? AND key = ? "
                "AND status = 'answered'",
                (session, key),
            )

        await self.db.write(job, session=session)

    async def retire_unusable(self, session: int) -> None:
        """Let unusable replies be asked for afresh; their rows and cost stay.

        Those of earlier runs too: a later run may stumble over them.
        """

        def job(db: Connection) -> None:
            db.execute(
                "UPDATE calls SET key = key || '-' || n WHERE session = ? "
                "AND status = 'unusable' AND length(key) = 32",
                (session,),
            )

        await self.db.write(job, session=session)

    async def usage(self, session: int, run: int | None = None) -> dict[str, dict[str, float]]:
        """Totals by purpose: calls, tokens, seconds and cost of what was answered.

        A session's are kept up to date with every answer; a run's are added up.
        """

        def job(db: Connection) -> dict[str, dict[str, float]]:
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
                    f"FROM calls WHERE session = ? AND run = ? AND status != 'pending' AND {PAID} "
                    "GROUP BY purpose ORDER BY purpose"
                )
            found = rows(db, sql, *([session] if run is None else [session, run]))
            return {r["purpose"]: {k: r[k] for k in r.keys()[1:] if r[k]} for r in found}

        return await self.db.read(job, session=session, single=True)

    async def latest(
        self, session: int, limit: int, before: int | None = None
    ) -> list[dict[str, object]]:
        """The latest calls, newest first, without their texts."""
        sql = (
            "SELECT 'c' || n AS id, purpose, about, status, model, answerer, prompt_tokens, "
            "completion_tokens, cost, round(latency, 3) AS seconds, finish, created FROM "
            "calls WHERE session = ? AND n < ? ORDER BY n DESC LIMIT ?"
        )
        top = before if before is not None else 1 << 62
        return await listed(self.db, sql, session, top, limit)

    async def get(self, session: int, n: int) -> dict[str, object] | None:
        """One call with its request, reply and attempts, as columns by name; None where there is
        none."""

        def job(db: Connection) -> dict[str, object] | None:
            found = row(db, "SELECT * FROM calls WHERE session = ? AND n = ?", session, n)
            if found is None:
                return None
            sql = (
                "SELECT outcome, round(latency, 3) AS seconds, detail, created FROM attempts "
                "WHERE session = ? AND call = ? ORDER BY rowid"
            )
            attempts = [dict(r) for r in rows(db, sql, session, n)]
            return dict(found) | {"attempts": attempts}

        return await self.db.read(job, session=session)
