"""Settings in force, and where each came from: flags, then environment, then file, then defaults.

The file is config.toml in the user's configuration directory, or what --config or
TEXTGRAD_MCP_CONFIG names:

    database = "~/textgrad.db"          # every key of Settings that is no table stands on top
    [both]                              # the two roles; [forward] and [backward] count more
    base_url = "http://127.0.0.1:8080/v1"
    model = "qwen2.5"
    api_key_env = "MY_KEY"              # the variable that holds the key
    params = { temperature = 0.0 }
    headers = { x-gateway = "..." }     # for gateways that want some of their own
    [models.small]                      # a further model; what it leaves out is as for forward
    model = "qwen2.5-0.5b"
    [evaluators.unit_tests]
    command = ["python", "check.py"]    # check.py beside this file

In the environment the same is TEXTGRAD_MCP_DATABASE, TEXTGRAD_MCP_MODEL for both roles, and
TEXTGRAD_MCP_FORWARD_MODEL or TEXTGRAD_MCP_BACKWARD_MODEL for one,
TEXTGRAD_MCP_MODELS_SMALL_MODEL for a further model. OPENAI_BASE_URL and
OPENAI_API_KEY count last of all, only for a role that an endpoint answers already, and that key
goes only to OpenAI's own address or to OPENAI_BASE_URL.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from ...engine.answerers import ANSWERERS
from ...engine.answerers.wire import check_base_url, check_headers, check_params
from ...schemas.errors import BadInput
from ...schemas.near import did_you_mean
from ...schemas.settings import ROLES, EvaluatorSettings, RoleSettings, Settings
from .sources import PREFIX, Layer, from_environment, from_file, from_flags

OPENAI_HOST = "api.openai.com"
Origins = dict[str, str]
"""Where each setting came from, by its dotted name."""


def load(
    flags: Mapping[str, str], environ: Mapping[str, str], path: Path | None = None
) -> tuple[Settings, Origins]:
    """The settings in force, and the origin of each.

    `flags` are given by dotted names (`forward.model`, `both.timeout`, `database`); `path` is
    the configuration file, which must exist; without it the usual one is read if there is one.
    Raises BadInput, naming the setting and where it came from.
    """
    merged: Layer = {"database": (default_database(), "default")}
    merged |= _file(environ, path)
    merged |= from_environment(environ)
    merged |= from_flags(flags, environ)
    models = sorted({key.rpartition(".")[0] for key in merged if key.startswith("models.")})
    for model in models:
        _as_forward(model, merged)
    for role in (*ROLES, *models):
        _last_resort(role, merged, environ)
    settings = _validated(merged)
    for name, one in settings.answering.items():
        role = f"models.{name}" if name in settings.models else name
        _check_answerer(role, one.answerer, merged)
        _check_role(role, one)
    for name, evaluator in settings.evaluators.items():
        _check_evaluator(name, evaluator)
    return settings, _origins(settings, merged)


def resolve(role: RoleSettings) -> str:
    """Who answers: `auto` is an endpoint where one is configured, else the assistant."""
    return role.answered_by


def default_database() -> Path:
    """The database's place when none is set."""
    import platformdirs

    return platformdirs.user_data_path("textgrad-mcp", appauthor=False) / "textgrad.db"


def config_path(environ: Mapping[str, str]) -> Path:
    """The configuration file's place when no flag names one."""
    import platformdirs

    named = environ.get(f"{PREFIX}CONFIG")
    if named:
        return Path(named).expanduser()
    return platformdirs.user_config_path("textgrad-mcp", appauthor=False) / "config.toml"


def _file(environ: Mapping[str, str], path: Path | None) -> Layer:
    wanted = path is not None or bool(environ.get(f"{PREFIX}CONFIG"))
    path = path or config_path(environ)
    try:
        return from_file(path, environ)
    except FileNotFoundError:
        if wanted:
            raise BadInput(f"There is no configuration file {path}.", "Check its path.") from None
        return {}


WHOSE = ("answerer", "api_key", "headers", "price_prompt", "price_completion")
"""What goes with one address, and is not carried to another."""
PRICES = ("price_prompt", "price_completion")


def _as_forward(model: str, merged: Layer) -> None:
    """Fill in what a further model leaves out as it is for forward. With an address of its own it
    gets neither forward's key and headers nor its answerer; with a model of its own, no prices."""
    own = {*WHOSE} if f"{model}.base_url" in merged else set()
    own |= {*PRICES} if f"{model}.model" in merged else set()
    for key in RoleSettings.model_fields:
        if f"forward.{key}" in merged and key not in own:
            value, origin = merged[f"forward.{key}"]
            merged.setdefault(f"{model}.{key}", (value, f"as forward: {origin}"))


def _last_resort(role: str, merged: Layer, environ: Mapping[str, str]) -> None:
    """Fill in OpenAI's own variables, where this role is answered by an endpoint anyway."""

    def value(key: str) -> Any:
        return merged.get(f"{role}.{key}", (None, ""))[0]

    answerer = value("answerer") or "auto"
    if answerer != "openai" and (answerer != "auto" or not (value("base_url") or value("model"))):
        return
    base_url = environ.get("OPENAI_BASE_URL", "").strip()
    key = environ.get("OPENAI_API_KEY", "").strip()
    if not value("base_url") and base_url:
        merged[f"{role}.base_url"] = (base_url, "environment OPENAI_BASE_URL")
    if value("api_key") or not key:
        return
    if value("base_url") in (None, base_url) or _is_openai(str(value("base_url"))):
        merged[f"{role}.api_key"] = (key, "environment OPENAI_API_KEY")
    else:
        merged[f"{role}.api_key"] = (None, "OPENAI_API_KEY is not sent to this base_url")


def _is_openai(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and parts.hostname == OPENAI_HOST


def _validated(merged: Layer) -> Settings:
    nested: dict[str, Any] = {}
    for key, (value, _) in merged.items():
        *parents, name = key.split(".")
        table = nested
        for parent in parents:
            table = table.setdefault(parent, {})
        table[name] = value
    try:
        return Settings.model_validate(nested)
    except ValidationError as error:
        raise BadInput(_misfits(error, merged), "Correct it and start again.") from None


def _misfits(error: ValidationError, merged: Layer) -> str:
    """What is wrong, without the values, which may be secret."""
    problems = []
    for one in error.errors(include_url=False, include_input=False, include_context=False):
        parts = [str(part) for part in one["loc"]]
        keys = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
        key = next((key for key in keys if key in merged), keys[0])
        origin = merged.get(key, ("", "?"))[1]
        problems.append(f"{'.'.join(parts)} ({origin}): {one['msg'].removeprefix('Value error, ')}")
    return "; ".join(problems) + "."


def _check_answerer(role: str, name: str, merged: Layer) -> None:
    known = ["auto", *ANSWERERS.own, "sampling"]
    if name in known or name in ANSWERERS:
        return
    known += ANSWERERS.added
    origin = merged.get(f"{role}.answerer", ("", "default"))[1]
    raise BadInput(
        f"{role}.answerer ({origin}): there is no answerer {name!r}.{did_you_mean(name, known)}",
        f"Use one of {', '.join(known)}.",
    )


def _check_role(name: str, role: RoleSettings) -> None:
    check_params(role.params)
    check_params(role.update_params)
    check_headers(role.headers)
    if role.base_url:
        check_base_url(role.base_url)
    key = role.api_key.get_secret_value().strip() if role.api_key else ""
    if not (key.isascii() and key.isprintable()):
        raise BadInput(f"{name}.api_key holds characters that a key cannot have.", "Copy it again.")
    if resolve(role) == "openai" and not role.model and _is_openai(role.base_url or _openai_url()):
        raise BadInput(f"{name} is answered by OpenAI, but by no model.", f"Set {PREFIX}MODEL.")


def _openai_url() -> str:
    return f"https://{OPENAI_HOST}/v1"


def _check_evaluator(name: str, evaluator: EvaluatorSettings) -> None:
    if (evaluator.command is None) == (evaluator.entry_point is None):
        raise BadInput(
            f"evaluators.{name} needs either command or entry_point, not both.", "Remove one."
        )


def _origins(settings: Settings, merged: Layer) -> Origins:
    """The origin of every setting, those left at their defaults too."""
    keys = [key for key in Settings.model_fields if key not in (*ROLES, "models", "evaluators")]
    roles = [*ROLES, *(f"models.{name}" for name in settings.models)]
    keys += [f"{role}.{key}" for role in roles for key in RoleSettings.model_fields]
    names = settings.evaluators
    keys += [f"evaluators.{name}.{key}" for name in names for key in EvaluatorSettings.model_fields]
    return {key: merged[key][1] if key in merged else "default" for key in keys}
