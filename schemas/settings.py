"""What an operator can set. Where each value came from is the command line's business."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)

from .database import CONNECTIONS, DatabaseSetting, PostgresAddress
from .text import unusable

ReplyFormat = Literal["schema", "object", "text"]


class Strict(BaseModel):
    """A model that refuses keys it does not know, and numbers that are none."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


def _params(given: dict[str, Any]) -> dict[str, Any]:
    if why := unusable(given):
        raise ValueError(f"it {why}")
    return given


Params = Annotated[dict[str, Any], AfterValidator(_params)]


class RoleSettings(Strict):
    """Who answers the calls of one role, and how.

    `answerer` is auto, openai, assistant, sampling, or what an installed package adds.
    `params` go to the endpoint as they are (temperature, max_tokens, seed, ...), with
    `update_params` over them where texts are rewritten (several candidates want a higher
    temperature than feedback does). `reply_format`
    says how a reply of a given shape is asked for: a JSON schema, a JSON object, or only words.
    `headers` go with every call, for gateways that want some of their own; their values are kept
    out of everything that is shown. Prices are in dollars per million tokens.
    """

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    answerer: str = "auto"
    base_url: str | None = None
    api_key: SecretStr | None = None
    model: str | None = None
    params: Params = Field(default_factory=dict)
    update_params: Params = Field(default_factory=dict)
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    reply_format: ReplyFormat = "schema"
    concurrency: int = Field(default=16, ge=1, le=1024)
    timeout: float = Field(default=120.0, gt=0, le=3600)
    retries: int = Field(default=4, ge=0, le=20)
    price_prompt: float | None = Field(default=None, ge=0)
    price_completion: float | None = Field(default=None, ge=0)

    @property
    def answered_by(self) -> str:
        """Who answers: `auto` is an endpoint where one is configured, else the assistant."""
        if self.answerer != "auto":
            return self.answerer
        return "openai" if self.base_url or self.model else "assistant"


class EvaluatorSettings(Strict):
    """A program that may be used as a loss: a command (no shell) or a Python entry point.

    Relative paths in `command` are looked up in `folder`: by default that of the configuration
    file, without one the server's working directory. `timeout` is in seconds; `memory_mb`, for the
    program and all that it starts, and `disk_mb`, for its working directory, are in MiB. `slots`
    are runs at once; evaluators without share as many as there are cores. `env` names the variables
    it may see.
    """

    command: list[str] | None = None
    entry_point: str | None = None
    folder: Path | None = None
    timeout: float = Field(default=30.0, gt=0, le=3600)
    memory_mb: int = Field(default=4096, ge=16)
    disk_mb: int = Field(default=1024, ge=1)
    slots: int | None = Field(default=None, ge=1, le=1024)
    env: list[str] = Field(default_factory=list)
    description: str = ""


def _budget(given: dict[str, float]) -> dict[str, float]:
    keys = ("calls", "tokens", "cost")
    wrong = [k for k, v in given.items() if k not in keys or not (v > 0 and math.isfinite(v))]
    if wrong:
        raise ValueError(f"no budget for {', '.join(wrong)}: calls, tokens, cost, above 0")
    return given


OPEN_QUOTA_BYTES = 100_000_000


MODEL_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""Names of further models: what a variable of the environment can spell."""
ROLES = FORWARD, BACKWARD = ("forward", "backward")


def _models(given: dict[str, RoleSettings]) -> dict[str, RoleSettings]:
    for name in given:
        if not MODEL_NAME.fullmatch(name) or name in (*ROLES, "both"):
            raise ValueError(
                f"no model can be named {name[:40]!r}: lower-case letters, digits and _, a letter "
                "first, and not forward, backward or both"
            )
    return given


class Settings(Strict):
    """Everything in force in one server process.

    `models` are further models, by name, that programs may be run with beside that of the role
    forward; each holds for itself, what it shares with forward is filled in when it is read.
    `database` is a file, or the address of a PostgreSQL database, with its password in
    `database_password` if libpq's own places do not have it; `database_connections` are those that
    one process may have open there.
    `workspace_evaluators` says whether scripts of the workspace may be used as evaluators: when the
    person at the client agrees to each, always, or never.
    The quotas hold for each owner: the sessions one may have, the calls to endpoints one may make
    on a day (UTC), and the bytes one may have stored. Where callers are told apart by tokens,
    OPEN_QUOTA_BYTES hold when nothing else is set. `page`: sessions may be shown in chats that
    draw pages (`on`), only by a link to a browser on this machine (`link`), or not at all.
    """

    database: DatabaseSetting | None = None
    database_password: SecretStr | None = None
    database_connections: int = Field(default=CONNECTIONS, ge=1, le=64)
    forward: RoleSettings = Field(default_factory=RoleSettings)
    backward: RoleSettings = Field(default_factory=RoleSettings)
    models: Annotated[dict[str, RoleSettings], AfterValidator(_models)] = Field(
        default_factory=dict
    )
    evaluators: dict[str, EvaluatorSettings] = Field(default_factory=dict)
    data_dir: Path | None = None
    workspace: Path | None = None
    workspace_evaluators: Literal["ask", "allow", "off"] = "ask"
    soft_deadline: float = Field(default=45.0, gt=0, le=3600)
    group_size: int = Field(default=8, ge=1, le=64)
    prompt_budget: int = Field(default=6000, ge=500, le=1_000_000)
    session_budget: Annotated[dict[str, float], AfterValidator(_budget)] = Field(
        default_factory=dict
    )
    quota_sessions: int | None = Field(default=None, ge=1, le=2**53)
    quota_calls_per_day: int | None = Field(default=None, ge=1, le=2**53)
    quota_bytes: int | None = Field(default=None, ge=1, le=2**53)
    minibatch: int = Field(default=8, ge=1, le=1024)
    max_value_chars: int = Field(default=1_000_000, ge=1000)
    page: Literal["on", "link", "off"] = "on"

    @property
    def answering(self) -> dict[str, RoleSettings]:
        """Who answers, by name: the two roles, and the further models."""
        return {FORWARD: self.forward, BACKWARD: self.backward, **self.models}

    @model_validator(mode="after")
    def _complete_address(self) -> Settings:
        """The address of a server holds what was set beside it."""
        if isinstance(self.database, PostgresAddress):
            self.database = self.database.with_settings(
                self.database_password, self.database_connections
            )
        return self
