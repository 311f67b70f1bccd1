"""What `add_examples` takes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ..graph import Split
from ..results import ExamplesResult
from .base import Arguments
from .types import Name, Rows, Session


class AddExamplesArguments(Arguments):
    """Load examples into a split. Variables made with example_field are fed from them."""

    tool = "add_examples"
    result = ExamplesResult

    session_id: Session
    split: Annotated[
        Split,
        Field(description="train: learnt from. validation: steps are gated on it. test: held out."),
    ]
    examples: Annotated[
        Rows | dict[str, Any] | str | None,
        Field(
            description="Rows [{field: text}], or a text of JSON Lines or CSV. "
            "{'e7': {field: text}} mends e7."
        ),
    ] = None
    path: Annotated[
        Name | None,
        Field(description="Or a file in the operator's data directory: JSON, CSV, Excel, Parquet."),
    ] = None
