"""Every promise of the README, the docs and the tool descriptions, in one line each.

A test names the promises that it holds: `@pytest.mark.requirement("asked-once")`, by the ids below.
"""

from __future__ import annotations

from collections.abc import Mapping

PROMISES: Mapping[str, Mapping[str, str]] = {
    "Durability": {
        "asked-once": "What was answered is never asked again, by this run or a later one.",
        "one-reply": "Of several answers to one call one is used everywhere, and the others are on "
        "record; what cannot be stored of it is replaced.",
        "on-disk": "What a call recorded is on disk before anything is made of it.",
        "kill": "A kill costs at most the calls whose replies were not on disk.",
        "same-end": "An interrupted run ends with the same result and as many recorded "
        "calls as an undisturbed one.",
        "commit-error": "After an error at a commit boundary the state is the one before or "
        "the one after.",
        "whole-transactions": "A transaction is whole or not there, whatever is cancelled or fails "
        "beside it.",
        "takeover": "A run is continued by another process when its own is gone, never "
        "stolen from a live one.",
        "one-admission": "Of the same call made twice at once there is one run and one result; "
        "another call is refused, and nothing of it is there.",
        "one-run": "A session does one thing at a time, and says which and how to go on.",
        "many-processes": "Several server processes may share a file and a session.",
        "cancelled": "A cancelled or abandoned call keeps what was answered and can be made again.",
        "changed-underneath": "What changed under a run is recomputed or refused, never mixed with "
        "answers to the old text.",
        "background": "A call returns by its deadline; the work goes on and resume waits for it.",
        "soak": "Under load and faults nothing is lost, doubled or asked twice.",
        "versions-kept": "Every version of a text is kept; revert makes one current again as a "
        "new version.",
        "whole-steps": "A step installs all of its texts or none, and of two on one version "
        "one is told.",
    },
    "Fleets": {
        "fleet-exactly-once": "What many processes write to one server is there once, in their own "
        "sessions and in shared ones.",
        "fleet-crash": "A database server that crashes loses no recorded call and doubles none.",
        "fleet-unknown-commits": "A commit whose reply is lost is looked up and never repeated.",
        "fleet-quotas": "Quotas and budgets hold to the last call over all processes.",
        "fleet-pooler": "The store works behind a pooler that lends connections by the "
        "transaction.",
        "fleet-trips": "A model call goes to the database server and back a few times, counted.",
        "fleet-schema": "A server's schema is made by one command, once however many give it; an "
        "unfit one is refused in words, one a version newer is not.",
        "fleet-move": "Sessions move from a file to a server and back whole.",
        "fleet-password": "A database's password is shown nowhere, and not taken from the command "
        "line.",
    },
    "Taking back": {
        "said-first": "What a removal takes out is said before, and nothing goes unconfirmed.",
        "taken-out": "What was added by mistake can be taken out with all that rests on it; what "
        "was paid for and what happened stay, and no id is used again.",
        "mended": "A field of an example can be mended, and what rests on it is computed again.",
        "ways-out": "Nothing that a session takes in can keep it from going on for ever.",
        "measured-again": "A loss that is told again for a text that has changed is the same loss.",
    },
    "The file": {
        "file-refused": "A foreign, damaged or truncated file is refused unharmed, with its "
        "path and the way out.",
        "migrations": "Older files are brought up to date once, whoever is first; newer ones "
        "are refused.",
        "disk-full": "A full disk is said, nothing is half-written, and the database stays usable.",
        "locked": "A file that another process keeps locked is waited for, then named.",
        "same-file": "No write counts as done that is not in the file of the database's name; if "
        "that was moved, deleted or replaced, it is said, and where the data is.",
        "ready": "A server is ready only while its store can be written; why it cannot is named.",
        "unreadable": "A row that cannot be read is named with the way out, and locks nobody out.",
        "private-file": "The database and its side files are for their owner alone.",
        "backup": "A backup made while others write is whole and opens.",
        "restore": "A backup takes the database's place whole or not at all, servers on it or not; "
        "what was there is kept.",
        "check": "A check names what is wrong with a file.",
        "export": "An exported session comes back as it was; a bad file is refused whole.",
        "delete": "A deleted session leaves nothing in the file, and none is deleted "
        "while it runs.",
        "bound-files": "A bound file is written whole, only with accepted texts and only when "
        "asked.",
    },
    "Endpoints": {
        "retries": "A failure that may pass is retried a fixed number of times; each "
        "attempt is on record.",
        "no-vain-retries": "A failure that would stay is asked about once, with what to change.",
        "fatal-stops": "After a fatal refusal no call goes out that was not under way.",
        "pauses": "The pause an endpoint asks for is kept; one too long ends the call "
        "and says when to come back.",
        "concurrency": "No more calls are in flight than set; a crowded endpoint gets fewer; "
        "no slot is lost.",
        "partial-failure": "One failed call keeps the others; a retry pays for it alone.",
        "left-out": "An example that cannot be scored is left out before anything is asked for it, "
        "named and counted; the others go on.",
        "refused-examples": "What an endpoint refuses of one example stops no other: it is named, "
        "and counts as 0 where texts are measured.",
        "no-bad-values": "An empty, cut-off, filtered, refused or malformed reply is repaired "
        "once and never becomes a value.",
        "reasoning-apart": "What a model thought before its answer is kept apart, and no part of a "
        "value; tags that the program is about stay.",
        "plainer": "A reply format or a system role that an endpoint refuses, in whatever words, "
        "is left out, and so it stays for that model.",
        "cut-prompts": "A prompt that an endpoint cut is noted with what cures it; one that was "
        "read whole is not.",
        "errors-mapped": "Every exception of the libraries below is one of ours, with the next "
        "step.",
        "budgets": "A budget holds over calls under way, runs and restarts.",
        "sampling-faults": "A client that refuses or vanishes while its model is asked leaves a "
        "run that can be resumed.",
    },
    "Processes": {
        "ends": "A closed stdin, SIGTERM or SIGINT ends the process promptly; paid "
        "replies that arrive are kept.",
        "clean-exit": "After a clean exit no thread, file or transaction is left open.",
        "free-loop": "A big computation leaves other calls their turn.",
        "bounded-work": "Local work that input can make long has a limit, and ends with the call "
        "and the process that wanted it.",
        "clean-stdout": "Nothing but messages is written to stdout.",
    },
    "Hostile input": {
        "texts-unchanged": "Any text that can be stored goes in, through and out unchanged.",
        "fences": "No text inside a value can pass for an instruction or for the end of its fence.",
        "limits": "What is too long or cannot be stored is refused where it comes in, or before "
        "it is put together.",
        "no-cycles": "Graphs have no cycles, however deep they are; an input read twice "
        "counts once.",
        "any-arguments": "No argument crashes a tool, hangs it or leaves a half-made change.",
        "in-words": "Every failure reaches its caller in words with a next step; a crash has an id "
        "that the log has, too.",
        "plain-reports": "What a model wrote is text and nothing else in reports, drawings and on "
        "terminals.",
        "strict-names": "A misspelt argument, tool or id is refused with what was meant.",
        "tables": "What is guessed in reading a table is said; what cannot be told is refused "
        "with its line, and nothing of it is stored.",
        "addresses": "A resource address that names nothing of the caller's is refused, "
        "however it is written.",
    },
    "Security": {
        "consent": "A script that an assistant wrote runs only as a person agreed to it, or as the "
        "operator allowed all.",
        "owners": "A session belongs to its principal; to others it is as good as unknown.",
        "unguessable": "Session ids cannot be guessed.",
        "tokens": "Over HTTP nobody comes in without a good token, of which only a hash is kept.",
        "origins": "Pages of other hosts and origins are turned away.",
        "loopback": "The server listens on loopback unless callers are told apart.",
        "rates": "A caller who asks too often waits, and others do not.",
        "strangers": "Half-sent requests, slow ones and readers who stop keep nobody out and fill "
        "no log; an address is believed only from where it can be known.",
        "revoked": "What is under way for a token ends soon after the token does.",
        "quotas": "An owner has no more sessions and calls a day than the operator allows.",
        "keys-hidden": "Keys appear in no message, database, log, export or configuration listing.",
        "keys-kept-home": "A key goes to no other address than its own, and spends nothing "
        "unasked.",
        "registered-programs": "A call can only name programs that the operator registered; "
        "no shell is used.",
        "program-limits": "A registered program is limited in time, memory and disk, with all that "
        "it starts, and leaves nothing running, not even if the server is killed.",
        "page-is-text": "Nothing that a session holds becomes markup or script in the page, in a "
        "chat, in a browser or in a file.",
        "viewer-locked": "The viewer serves this machine alone, to whoever has its key, and "
        "changes nothing.",
        "page-read-only": "The page reads what is recorded: no call is made, nothing is written, "
        "and held-out rows are shown only to who asked for them.",
        "confined-files": "Files are read and written only beneath the folders the operator named.",
    },
    "Protocol": {
        "both-eras": "Every tool works in both protocol eras and over every transport.",
        "host-shapes": "An argument in a shape that hosts are known to send means what it means in "
        "its own.",
        "conformance": "The official conformance scenarios pass.",
        "announced": "A change is announced to those who watch it, and waits for none of them.",
        "no-fact-left-out": "A result says the same in words as in its structured content.",
    },
    "Many replicas": {
        "deployed": "The composition in deploy is of commands, settings and files that there are, "
        "and serves.",
        "metrics": "/metrics tells of one process what it did and how it is, to whoever may read "
        "it alone, and nobody's name unless wanted.",
        "any-replica": "Any replica can answer any request and go on with any run; what was "
        "recorded is not asked again.",
        "progress-elsewhere": "Whoever waits for a run that another replica carries out hears how "
        "far it is.",
        "announced-elsewhere": "What one replica changes is announced by the others to those who "
        "watch it there.",
    },
    "Training": {
        "gate": "A step that must help installs only what beats the present text "
        "beyond noise, or does the same and is shorter; what was refused and scored more is named.",
        "repeats": "With repeats, each example that measures is run so often and the means are "
        "compared; no run is asked for twice, and a program that cannot vary is measured once.",
        "repeats-as-needed": "Where validation leaves open which text is better and no more "
        "examples are at hand, both are run again, as often as it takes and three times at most, "
        "if the model wavers and the budget pays for it.",
        "several-models": "A program that names several models is measured with each on every "
        "example: the mean or the worst decides, and results tell all of them.",
        "held-out": "The loop never reads the test split, and each reading of it is counted, once.",
        "references-hidden": "The right answers stand in no forward prompt.",
        "no-leaks": "A rewrite that quotes rows which measure it, or the request it came from, is "
        "refused unless a constraint allows it; what right answers share is no quotation.",
        "quoted-rows": "Training rows that a text quotes are noted, and do not count for it.",
        "refusals-remembered": "What was refused is remembered and shown to the next rewrite.",
        "repeatable": "The same session and seed ask the same questions in the same order.",
        "exact-gradients": "The feedback on each parameter comes from exactly the paths that lead "
        "to it.",
        "verdicts": "A metric guesses nothing: what can be read in two ways is not right, and the "
        "feedback says why.",
        "as-seen": "Metrics compare texts as they look; what nobody sees decides nothing.",
        "failed-candidates": "A text on which an evaluator fails counts as 0, with the reason as "
        "its feedback, and the work goes on.",
        "broken-evaluators": "An evaluator that fails on everything is told as such, and no text "
        "pays for it.",
        "no-caps": "Everything there is counts in a result; what a list leaves out is said.",
        "in-use": "A result about part of the examples says of how many, and how all are used.",
        "beside": "Whoever rewrites a text sees what it is judged by and read with, and no right "
        "answer.",
        "told": "What the caller measured itself is what the session holds.",
        "one-report": "Page, Markdown, terminal and inspect tell the same of a session.",
        "one-call": "One call builds a program, splits its examples, measures where it stands and "
        "says what there is to gain and what it costs; all of it can be read and changed.",
        "splits": "Splits are the same for the same seed; copies of an input stay in one of them, "
        "labels are spread evenly, and how it was done is said.",
    },
    "Extending": {
        "extending": "What an installed package adds is found by its entry point and loaded when "
        "it is used; what is broken is told in words, and harms nothing else.",
        "public-surface": "What textgrad_mcp.engine exports is one list, loaded when it is used.",
    },
    "Thrift": {
        "frugal-tools": "The tool definitions and a whole optimisation by the assistant stay "
        "small.",
        "said-once": "What several prompts of a page share is shown in the first; a page can be "
        "answered without the conversation.",
        "read-once": "Whoever says that they remember reads a text once; a page is whole for "
        "anybody else.",
        "after-step": "A result says of each proposed text what became of it, where it stands "
        "whole, and what comes next; reports have the scores of programs without examples.",
        "shared-calls": "Critiques are reused as gradients and examples share calls.",
        "frugal-reflection": "A reflection is one call and shows no row that measures; its best "
        "text alone is read on validation.",
        "frugal-check": "On the minibatch nothing is read that could change nothing, and little "
        "of what a text is shown with is run where it scores 0.",
        "cut-off": "An answer that was cut off is shown to the critic, as far as it goes, and "
        "counts as 0.",
        "referees": "Where validation cannot decide, training examples do which no writer was "
        "shown.",
        "bounded-prompts": "No prompt grows beyond its budget, whatever the number of examples.",
        "at-once": "Everything that is ready is asked at once.",
        "shared-commits": "Writes that wait together share a commit.",
    },
}
"""Area -> id -> promise."""
