"""What all arguments have in common: how they are read, checked, and told from those of another
call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ..errors import BadInput
from ..results import Result
from .rules import LATER, Rule
from .shapes import beside


class Arguments(BaseModel):
    """The arguments of one tool: a subclass has a field for each, with its default, its bounds and
    its words. The docstring of a subclass is what a model reads about the tool.

    `tool` is the tool's name, `result` the model of what it returns.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tool: ClassVar[str]
    result: ClassVar[type[Result]] = Result

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """The arguments out of values by name. Raises BadInput, in words, for a value of the wrong
        type and for one out of bounds."""
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise BadInput(misfits(cls.tool, error), "Call it again so.") from error

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> None:
        """Raises BadInput where a value of the right type is out of its bounds. Values that are
        None, and fields that have none, are passed over."""
        for name, field in cls.model_fields.items():
            if values.get(name) is not None:
                for rule in beside(field):
                    if isinstance(rule, Rule):
                        rule.check(name, values[name])

    @model_validator(mode="before")
    @classmethod
    def _without_none(cls, given: Any) -> Any:
        """None is a value that was left out, if it may be."""
        if not isinstance(given, Mapping):
            return given
        required = {name for name, field in cls.model_fields.items() if field.is_required()}
        return {k: v for k, v in given.items() if v is not None or k in required}

    @model_validator(mode="after")
    def _is_right(self) -> Self:
        self.check_together()
        self.check(self.__dict__)
        return self

    def check_together(self) -> None:
        """Raises BadInput for arguments that do not go together."""

    def asked(self) -> dict[str, Any]:
        """What makes two calls of the tool in one session the same call: all but the session.

        A LATER argument counts only where it is not as by default, so that calls which were made
        before there was such an argument are the same still.
        """
        return {
            name: value
            for name, value in self.model_dump(exclude={"session_id"}).items()
            if not self._is_as_before(name, value)
        }

    def _is_as_before(self, name: str, value: Any) -> bool:
        field = type(self).model_fields[name]
        return LATER in beside(field) and bool(value == field.default)


def misfits(what: str, error: ValidationError) -> str:
    """Where values do not fit a model, in one line that begins with `what` they are for. What was
    given is not repeated."""
    problems = []
    for one in error.errors(include_url=False, include_context=False, include_input=False):
        where = ".".join(str(part) for part in one["loc"])
        problems.append(f"{where}: {one['msg'][0].lower()}{one['msg'][1:]}")
    return f"{what}: " + "; ".join(dict.fromkeys(problems)) + "."
