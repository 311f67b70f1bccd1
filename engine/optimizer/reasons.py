"""Why candidates are taken or refused when their scores are compared, in words.

The words stand in engine/prompts: whoever writes the next text is shown why the last was refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from ...schemas.errors import CutOff
from ...schemas.graph import NO_EXAMPLE, Fate
from ..evaluation.scoring import Scored
from ..evaluation.statistics import Gain, figures
from ..program.missing_fields import named
from ..prompts import sentence
from .candidate import Reason

Rank = tuple[float, bool, int, int, int]
"""A candidate's rank on the minibatch: its gain, whether it quotes what failed there, its place in
its writer's order, how much shorter it is, and which came first; more is better."""


def twice(other: int) -> Reason:
    """That a candidate has the text of the candidate with the index `other`."""
    return Reason(Fate.TWICE, sentence("reasons", "twice", n=str(other + 1)))


def no_gain(
    examples: Sequence[int], before: Sequence[float], after: Sequence[float], failed: str
) -> Reason:
    """That a candidate cannot have gained on the minibatch, and on which examples it did worse.

    `before` are the scores of its parent on the `examples`, `after` its own on as many of them as
    were read; `failed` comes from `failures`.
    """
    read, count = len(after), str(len(examples))
    first = list(before)[:read]
    if not read:
        already = {"before": figures(fmean(before))[0], "count": count}
        return Reason(Fate.MINIBATCH, sentence("reasons", "no_room", **already) + failed)
    was, now = figures(fmean(first), fmean(after))
    means = {"after": now, "count": count}
    whole = read == len(examples)
    if whole and first == list(after):
        return Reason(Fate.MINIBATCH, sentence("reasons", "tie_on_minibatch", **means) + failed)
    key, part = ("no_gain", {}) if whole else ("no_gain_left", {"read": str(read)})
    words = sentence("reasons", key, before=was, **means, **part)
    lost = [n for n, b, a in zip(examples, first, after, strict=False) if a < b]
    if lost and NO_EXAMPLE not in lost:
        words += sentence("reasons", "worse_on", examples=named(lost))
    return Reason(Fate.MINIBATCH, words + failed)


def quotes_all(best: int) -> Reason:
    """That a candidate quotes all that it could be checked on, and the one with the index `best`
    does not."""
    return Reason(Fate.BEATEN, sentence("reasons", "quotes_all", n=str(best + 1)))


def behind(best: int, first: Rank, other: Rank, *, whole: bool) -> Reason:
    """That the candidate with the index `best` did better on the minibatch: its rank and the
    other's, which is what that had at most if it was not read as a `whole`."""
    key = "behind" if first[0] > other[0] else "behind_longer"
    if first[0] == other[0] and first[1:3] != other[1:3]:
        key = "behind_quoting" if first[1] > other[1] else "behind_promise"
    own = f"{other[0]:.2f}"
    gains = {
        "best": f"{first[0]:.2f}",
        "own": own if whole else sentence("reasons", "at_most", gain=own),
    }
    return Reason(Fate.BEATEN, sentence("reasons", key, n=str(best + 1), **gains))


def dropped(read: int, count: int, before: float, after: float) -> Reason:
    """That a candidate cannot win any more after `read` of `count` examples, with both means."""
    was, now = figures(before, after)
    means = {"before": was, "after": now}
    words = sentence("reasons", "dropped", read=str(read), count=str(count), **means)
    return Reason(Fate.NOISE, words)


def failures(scored: Scored) -> str:
    """What to add where an evaluator failed on a candidate: how often, and how the first time; else
    where its answers could not be used. Empty where all went well."""
    failed = scored.failed
    if not failed:
        return _no_reply(scored)
    how = " ".join(next(iter(failed.values())).split())
    key = "failed_run" if scored.runs else "failed"
    count = str(len(scored.scores))
    return sentence("reasons", key, failed=str(len(failed)), count=count, how=how)


def _no_reply(scored: Scored) -> str:
    """How many answers of a candidate do not end, and how many cannot be used otherwise."""
    cut = sum(isinstance(error, CutOff) for error in scored.unusable.values())
    counts = {"cut_off": cut, "no_reply": len(scored.unusable) - cut}
    of = str(len(scored.scores))
    words = [sentence("reasons", key, n=str(n), count=of) for key, n in counts.items() if n]
    return "".join(words)


def refereed(alone: Gain, split: str, more: int, words: str) -> str:
    """The verdict `words` with `more` training examples counted in, after that on the split alone
    left open which text is better."""
    return _after_all("refereed", alone, split, words, more=str(more))


def read_again(alone: Gain, split: str, runs: int, words: str) -> str:
    """The verdict `words` by the means of so many runs, after the first left open which text is
    better."""
    return _after_all("read_again", alone, split, words, runs=str(runs))


def _after_all(key: str, alone: Gain, split: str, words: str, **of: str) -> str:
    """What the split alone told, and the verdict on more."""
    before, after = figures(alone.before, alone.after)
    means = {"before": before, "after": after, "count": str(alone.n)}
    return sentence("reasons", key, words=words, split=split, **means, **of)


def beaten(winner: int, words: str, *, as_much: bool, shorter: bool) -> Reason:
    """That a candidate passed, as its verdict `words` say, and another one was taken.

    `as_much`: the winner gained no more; `shorter`: it is the shorter one of the two.
    """
    key = "beaten" if not as_much else "beaten_by_shorter" if shorter else "beaten_by_first"
    return Reason(Fate.BEATEN, sentence("reasons", key, n=str(winner + 1), words=words))
