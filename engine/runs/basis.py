"""What measured scores stand on: the texts, the program around them, the examples, the models.

A run that goes on after a pause compares it with what is there: what changed is measured again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from pydantic import BaseModel

from ...schemas.graph import STEPPED
from ...schemas.settings import ROLES
from .context import RunContext


class Stands(BaseModel):
    """What scores rest on, as digests: the texts by variable, and the program, examples and
    models."""

    texts: dict[str, str]
    program: str
    examples: str
    models: str

    def install(self, texts: Mapping[str, str]) -> None:
        """Take these texts, by variable, as those the scores rest on from now on."""
        self.texts |= {v: digest(text) for v, text in texts.items()}

    def changes(self, now: Stands, split: str) -> list[str]:
        """What has changed since, as phrases ("the program", ...); empty if nothing has."""
        ids = [v for v in {**self.texts, **now.texts} if self.texts.get(v) != now.texts.get(v)]
        return [
            *([f"the text of {', '.join(ids)}"] if ids else []),
            *(["the program"] if self.program != now.program else []),
            *([f"the {split} examples"] if self.examples != now.examples else []),
            *(["who answers the calls"] if self.models != now.models else []),
        ]


async def stands_on(work: RunContext, losses: Sequence[str], split: str | None) -> Stands:
    """What the scores of `losses` on a `split` (None: without examples) rest on at this moment."""
    store, pk = work.store, work.session.pk
    program = await store.graph.program(pk, losses, everything=True)
    stepped = {v.id: v.value or "" for v in program.variables.values() if v.kind in STEPPED}
    own = {"name", "version", "value", "file"}
    rest = [
        v.model_dump(mode="json", exclude=own if v.id in stepped else own - {"value"})
        for v in program.variables.values()
    ]
    made = [o.model_dump(mode="json") for o in program.operations.values()]
    named = {*ROLES, *(name for o in program.operations.values() for name in o.models)}
    models = [one for one in work.ledger.models() if one[0] in named]
    return Stands(
        texts={v: digest(text) for v, text in stepped.items()},
        program=digest(json.dumps([rest, made], sort_keys=True, default=str)),
        examples=await store.examples.split_digest(pk, split) if split else "",
        models=digest(json.dumps(models, sort_keys=True, default=str)),
    )


def digest(text: str) -> str:
    """A digest of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
