"""The schema, as an append-only list of named steps. Never edit one that was released."""

from __future__ import annotations

from collections.abc import Mapping

APPLICATION_ID = 0x54474D43  # "TGMC": tells our files from other people's

FIRST = """
CREATE TABLE sessions (
    pk INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, title TEXT NOT NULL,
    created TEXT NOT NULL, updated TEXT NOT NULL,
    batch TEXT NOT NULL DEFAULT '[]', budget TEXT NOT NULL DEFAULT '{}',
    test_reads INTEGER NOT NULL DEFAULT 0, used_calls INTEGER NOT NULL DEFAULT 0,
    used_tokens INTEGER NOT NULL DEFAULT 0, used_cost REAL NOT NULL DEFAULT 0);
CREATE INDEX sessions_by_owner ON sessions (owner, updated);

CREATE TABLE variables (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, n INTEGER NOT NULL,
    kind TEXT NOT NULL, role TEXT NOT NULL, name TEXT NOT NULL, value TEXT,
    version INTEGER NOT NULL, requires_grad INTEGER NOT NULL, reference INTEGER NOT NULL,
    per_example INTEGER NOT NULL, field TEXT, constraints TEXT NOT NULL, operation INTEGER,
    dirty INTEGER NOT NULL DEFAULT 0, file TEXT,
    PRIMARY KEY (session, n));
CREATE INDEX variables_on_examples ON variables (session, n) WHERE per_example;
CREATE INDEX variables_dirty ON variables (session, n) WHERE dirty;
CREATE INDEX variables_with_files ON variables (session, n) WHERE file IS NOT NULL;

CREATE TABLE operations (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, n INTEGER NOT NULL,
    kind TEXT NOT NULL, output INTEGER NOT NULL, system INTEGER, inputs TEXT NOT NULL,
    spec TEXT NOT NULL,
    PRIMARY KEY (session, n));
CREATE INDEX operations_by_kind ON operations (session, kind, output);

CREATE TABLE edges (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
    source INTEGER NOT NULL, output INTEGER NOT NULL,
    PRIMARY KEY (session, source, output)) WITHOUT ROWID;
CREATE INDEX edges_upstream ON edges (session, output);

CREATE TABLE versions (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, variable INTEGER NOT NULL,
    version INTEGER NOT NULL, text TEXT NOT NULL, origin TEXT NOT NULL, step INTEGER,
    created TEXT NOT NULL,
    PRIMARY KEY (session, variable, version));

CREATE TABLE examples (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, n INTEGER NOT NULL,
    split TEXT NOT NULL, fields TEXT NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (session, n));
CREATE UNIQUE INDEX examples_once ON examples (session, split, digest);
CREATE INDEX examples_by_split ON examples (session, split, n);

CREATE TABLE cells (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, variable INTEGER NOT NULL,
    place INTEGER NOT NULL, text TEXT NOT NULL, score REAL,
    PRIMARY KEY (session, variable, place));

CREATE TABLE calls (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, n INTEGER NOT NULL,
    key TEXT NOT NULL, purpose TEXT NOT NULL, about TEXT NOT NULL, run INTEGER,
    request TEXT NOT NULL, answerer TEXT NOT NULL, status TEXT NOT NULL, text TEXT,
    finish TEXT, refusal TEXT, model TEXT NOT NULL DEFAULT '',
    prompt_tokens INTEGER NOT NULL DEFAULT 0, completion_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0, cost REAL, latency REAL NOT NULL DEFAULT 0,
    reserved_tokens INTEGER NOT NULL DEFAULT 0, reserved_cost REAL NOT NULL DEFAULT 0,
    created TEXT NOT NULL, answered TEXT,
    PRIMARY KEY (session, n));
CREATE UNIQUE INDEX calls_once ON calls (session, key);
CREATE INDEX calls_pending ON calls (session, run, n, status, reserved_tokens, reserved_cost)
    WHERE status = 'pending';
CREATE INDEX calls_by_run ON calls (session, run);

CREATE TABLE spent (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, purpose TEXT NOT NULL,
    calls INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL, seconds REAL NOT NULL, cost REAL,
    PRIMARY KEY (session, purpose)) WITHOUT ROWID;

CREATE TABLE attempts (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, call INTEGER NOT NULL,
    outcome TEXT NOT NULL, latency REAL NOT NULL, detail TEXT NOT NULL, created TEXT NOT NULL);
CREATE INDEX attempts_by_call ON attempts (session, call);

CREATE TABLE gradients (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, n INTEGER NOT NULL,
    variable INTEGER NOT NULL, version INTEGER NOT NULL, text TEXT NOT NULL,
    examples TEXT NOT NULL, batch TEXT NOT NULL, operation TEXT NOT NULL, losses TEXT NOT NULL,
    exact INTEGER NOT NULL, spent_by INTEGER, created TEXT NOT NULL,
    PRIMARY KEY (session, n));
CREATE INDEX gradients_unspent ON gradients (session, variable, n) WHERE spent_by IS NULL;
CREATE INDEX gradients_by_variable ON gradients (session, variable, n);

CREATE TABLE steps (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, n INTEGER NOT NULL,
    accepted INTEGER NOT NULL, gate TEXT NOT NULL, before REAL, after REAL,
    split TEXT, examples INTEGER NOT NULL, created TEXT NOT NULL,
    PRIMARY KEY (session, n));

CREATE TABLE proposals (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, n INTEGER NOT NULL,
    step INTEGER NOT NULL, variable INTEGER NOT NULL, parent INTEGER NOT NULL,
    text TEXT NOT NULL, verdict TEXT NOT NULL, reason TEXT NOT NULL, version INTEGER,
    score REAL, parent_score REAL, split TEXT, examples INTEGER NOT NULL,
    gradients TEXT NOT NULL, created TEXT NOT NULL,
    PRIMARY KEY (session, n));
CREATE INDEX proposals_by_variable ON proposals (session, variable, n);

CREATE TABLE evaluations (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, n INTEGER NOT NULL,
    loss INTEGER NOT NULL, split TEXT NOT NULL, versions TEXT NOT NULL, mean REAL NOT NULL,
    error REAL, examples INTEGER NOT NULL, created TEXT NOT NULL,
    PRIMARY KEY (session, n));

CREATE TABLE runs (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, n INTEGER NOT NULL,
    tool TEXT NOT NULL, args TEXT NOT NULL, digest TEXT NOT NULL, status TEXT NOT NULL,
    state TEXT NOT NULL, result TEXT, error TEXT NOT NULL, owner TEXT NOT NULL,
    lease REAL NOT NULL, created TEXT NOT NULL, updated TEXT NOT NULL,
    used_calls INTEGER NOT NULL DEFAULT 0, used_tokens INTEGER NOT NULL DEFAULT 0,
    used_cost REAL NOT NULL DEFAULT 0, began REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (session, n));
CREATE INDEX runs_alive ON runs (owner) WHERE status = 'running';
CREATE UNIQUE INDEX runs_one_active ON runs (session)
    WHERE status IN ('running', 'needs_completions');
"""

OWNER_CALLS = """
CREATE TABLE owner_calls (
    owner TEXT NOT NULL, day TEXT NOT NULL, calls INTEGER NOT NULL,
    PRIMARY KEY (owner, day)) WITHOUT ROWID;
"""

TESTED = "CREATE INDEX evaluations_of_split ON evaluations (session, split, versions);\n"

FATES = """
ALTER TABLE proposals ADD COLUMN fate TEXT NOT NULL DEFAULT 'not compared';
UPDATE proposals SET fate = CASE
    WHEN verdict = 'accepted' THEN 'accepted'
    WHEN reason LIKE 'no usable text%The text is unchanged%' THEN 'the text as it was'
    WHEN reason LIKE 'no usable text%It copies a % example%' THEN 'copied an example'
    WHEN reason LIKE 'no usable text%It holds %' THEN 'words of the optimiser'
    WHEN reason LIKE 'no usable text%It quotes %' THEN 'words of the optimiser'
    WHEN reason LIKE 'it breaks a constraint%' THEN 'broke a constraint'
    WHEN reason LIKE 'no usable text%' THEN 'no usable text'
    WHEN reason LIKE 'no gain on the minibatch%' THEN 'no gain on the minibatch'
    WHEN reason LIKE 'the same text%' THEN 'proposed twice'
    WHEN reason LIKE 'Candidate % was taken%' THEN 'another was taken'
    WHEN score IS NULL THEN 'not compared'
    ELSE 'no gain beyond noise' END;
CREATE INDEX proposals_of_step ON proposals (session, step);
"""

REMOVED = """
CREATE TABLE removed (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, kind TEXT NOT NULL,
    n INTEGER NOT NULL, was TEXT NOT NULL, created TEXT NOT NULL,
    PRIMARY KEY (session, kind, n));
CREATE INDEX calls_unusable ON calls (session) WHERE status = 'unusable';
"""

REASONING = "ALTER TABLE calls ADD COLUMN reasoning TEXT NOT NULL DEFAULT '';\n"

ALIKE = """
ALTER TABLE examples ADD COLUMN likeness TEXT NOT NULL DEFAULT '';
CREATE INDEX examples_alike ON examples (session, likeness);
"""

PARAMETERS = (
    "CREATE INDEX variables_parameters ON variables (session, n) WHERE kind = 'parameter';\n"
)

COUNTED = {
    "variables": ("role", "name", "value", "field", "constraints", "file"),
    "operations": ("inputs", "spec"),
    "versions": ("text",),
    "examples": ("fields",),
    "cells": ("text",),
    "calls": ("about", "request", "text", "refusal", "reasoning", "model"),
    "attempts": ("detail",),
    "gradients": ("text", "examples", "batch", "losses"),
    "steps": ("gate",),
    "proposals": ("text", "reason", "gradients"),
    "evaluations": ("versions", "scores"),
    "runs": ("args", "state", "result", "error"),
    "removed": ("was",),
}
"""The columns that count as bytes stored; a row as such counts for ROW_BYTES more."""
ROW_BYTES = 64
_Counted = Mapping[str, tuple[str, ...]]


def size_of(row: str, table: str, counted: _Counted = COUNTED) -> str:
    """The SQL for the bytes that count of a row."""
    lengths = (f"coalesce(length(CAST({row}.{name} AS BLOB)), 0)" for name in counted[table])
    return f"({ROW_BYTES} + {' + '.join(lengths)})"


def _count(table: str, counted: _Counted) -> str:
    """Triggers that keep a session's bytes up with one of its tables, whoever writes to it."""
    new, old = size_of("NEW", table, counted), size_of("OLD", table, counted)
    changed = f"UPDATE OF {', '.join(counted[table])}"
    triggers = [
        ("added", "INSERT", f"+ {new} WHERE pk = NEW.session"),
        ("changed", changed, f"+ {new} - {old} WHERE pk = NEW.session"),
        ("removed", "DELETE", f"- {old} WHERE pk = OLD.session"),
    ]
    return "".join(
        f"CREATE TRIGGER {table}_{name} AFTER {event} ON {table} BEGIN "
        f"UPDATE sessions SET bytes = bytes {change}; END;\n"
        for name, event, change in triggers
    )


def bytes_of_session(row: str, counted: _Counted = COUNTED) -> str:
    """The SQL for all bytes that count of a session, added up."""
    sums = (
        f"(SELECT coalesce(sum({size_of('t', table, counted)}), 0) FROM {table} t "
        f"WHERE t.session = {row}.pk)"
        for table in counted
    )
    return f"({ROW_BYTES} + {' + '.join(sums)})"


_FIRST_COUNTED: _Counted = {**COUNTED, "evaluations": ("versions",)}
BYTES = (
    f"ALTER TABLE sessions ADD COLUMN bytes INTEGER NOT NULL DEFAULT {ROW_BYTES};\n"
    f"UPDATE sessions SET bytes = {bytes_of_session('sessions', _FIRST_COUNTED)};\n"
) + "".join(_count(table, _FIRST_COUNTED) for table in _FIRST_COUNTED)

ADMISSION = """
ALTER TABLE runs ADD COLUMN stopped REAL;
ALTER TABLE runs ADD COLUMN answerers TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN taken INTEGER NOT NULL DEFAULT 0;
CREATE TABLE quiet_runs (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, digest TEXT NOT NULL,
    tool TEXT NOT NULL, result TEXT NOT NULL, stopped REAL NOT NULL,
    PRIMARY KEY (session, digest)) WITHOUT ROWID;
"""

GAINS = """
ALTER TABLE steps ADD COLUMN gain REAL;
ALTER TABLE steps ADD COLUMN error REAL;
ALTER TABLE steps ADD COLUMN p REAL;
ALTER TABLE proposals ADD COLUMN gain REAL;
ALTER TABLE proposals ADD COLUMN error REAL;
ALTER TABLE proposals ADD COLUMN p REAL;
ALTER TABLE evaluations ADD COLUMN scores TEXT;
DROP TRIGGER evaluations_added;
DROP TRIGGER evaluations_changed;
DROP TRIGGER evaluations_removed;
CREATE INDEX proposals_by_fate ON proposals (session, fate);
CREATE INDEX versions_in_order ON versions (session, created, variable, version, origin, step);
""" + _count("evaluations", COUNTED)

SHARED = "CREATE TABLE shared_keys (name TEXT PRIMARY KEY, value TEXT NOT NULL);\n"

MIGRATIONS: list[tuple[str, str]] = [
    ("sessions, graph, ledger, history", FIRST),
    ("model calls of each owner's day", OWNER_CALLS),
    ("texts measured on a split", TESTED),
    ("what became of each proposal, and those of a step", FATES),
    ("what was taken out of a session", REMOVED),
    ("what a model thought before its answer", REASONING),
    ("examples that are alike", ALIKE),
    ("parameters by themselves", PARAMETERS),
    ("bytes stored for each session", BYTES),
    ("a run from the admission of its call on", ADMISSION),
    ("gains with their errors, and the examples' scores behind a mean", GAINS),
    ("secrets that all processes share", SHARED),
]
