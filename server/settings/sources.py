"""Where settings come from: the configuration file, the environment, flags.

Each source is read into one flat layer, `forward.model` -> (value, where from). What is said for
`both` roles is spread over the two; what is said for one role counts more within its layer.
Further models stand beside them: `models.small.model`.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...schemas.database import SCHEMES, PostgresAddress, located
from ...schemas.errors import BadInput
from ...schemas.near import did_you_mean
from ...schemas.settings import MODEL_NAME, ROLES, EvaluatorSettings, RoleSettings, Settings

SECTIONS = (*ROLES, "both", "models", "evaluators")
TOP = tuple(name for name in Settings.model_fields if name not in SECTIONS)
PATHS = ("database", "data_dir", "workspace")
ROLE_KEYS = (*RoleSettings.model_fields, "api_key_env")
EVALUATOR_KEYS = tuple(EvaluatorSettings.model_fields)
NAMED = {
    "evaluators": (
        EVALUATOR_KEYS,
        "either command or entry_point",
        'command = ["python", "check.py"]',
    ),
    "models": (ROLE_KEYS, "what differs from forward", 'model = "qwen2.5"'),
}
"""Tables of tables: the keys each may have, what it needs, and an example of that."""
PREFIX = "TEXTGRAD_MCP_"
TABLES = ("params", "update_params", "headers", "session_budget")
OTHER_VARIABLES = ("CACHE", "CONFIG", "MODEL_LOG")
"""Variables with our prefix that are no settings."""

Layer = dict[str, tuple[Any, str]]


def near(name: str, known: Iterable[str]) -> str:
    """A hint at the nearest right name, or all of them."""
    names = list(known)
    return did_you_mean(name, names).lstrip() or f"Known: {', '.join(names)}."


def from_file(path: Path, environ: Mapping[str, str]) -> Layer:
    """The settings in a TOML file. Raises FileNotFoundError, and BadInput if it cannot be used."""
    try:
        content = tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BadInput(
            f"The configuration {path} cannot be read: {error.strerror}.", "Check --config."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(
            f"The configuration {path} is not valid TOML: {error}.", "Mend that line."
        ) from None
    flat = _flatten(content, str(path))
    here = path.parent.absolute()
    evaluators = {key.rpartition(".")[0] for key in flat if key.startswith("evaluators.")}
    flat = {f"{one}.folder": "" for one in evaluators} | flat
    for key in (*PATHS, *(f"{one}.folder" for one in evaluators)):
        if isinstance(flat.get(key), str):
            flat[key] = _placed(flat[key], here)
    return _layer(flat, lambda _: f"file {path}", environ)


def from_environment(environ: Mapping[str, str]) -> Layer:
    """The settings in TEXTGRAD_MCP_... variables; an empty or blank one counts as not set."""
    names = {PREFIX + key.upper(): key for key in TOP}
    names |= {PREFIX + key.upper(): f"both.{key}" for key in ROLE_KEYS}
    names |= {f"{PREFIX}{r.upper()}_{k.upper()}": f"{r}.{k}" for r in ROLES for k in ROLE_KEYS}
    others = [PREFIX + name for name in OTHER_VARIABLES]
    flat, origins = {}, {}
    for name, value in environ.items():
        if not name.startswith(PREFIX) or name in others or not value.strip():
            continue
        key = names.get(name) or _of_model(name)
        if key is None:
            raise BadInput(f"Unknown environment variable {name}.", near(name, [*names, *others]))
        flat[key] = _parsed(key, value, name)
        origins[key] = f"environment {name}"
    return _layer(flat, origins.__getitem__, environ)


def _of_model(variable: str) -> str | None:
    """The setting of a further model that a variable names: SMALL_BASE_URL after MODELS_."""
    rest = variable.removeprefix(f"{PREFIX}MODELS_").lower()
    for key in sorted(ROLE_KEYS, key=len, reverse=True):
        name = rest.removesuffix(f"_{key}")
        if rest != variable.lower() and name != rest and MODEL_NAME.fullmatch(name):
            return f"models.{name}.{key}"
    return None


def from_flags(flags: Mapping[str, str], environ: Mapping[str, str]) -> Layer:
    """The settings given as flags, by their dotted names."""
    known = [*TOP, *(f"{role}.{key}" for role in (*ROLES, "both") for key in ROLE_KEYS)]
    flat = {}
    for key, value in flags.items():
        section, _, last = key.rpartition(".")
        if key not in known and not (section.startswith("models.") and last in ROLE_KEYS):
            raise BadInput(f"Unknown setting {key!r}.", near(key, known))
        if key.endswith(".api_key"):
            raise BadInput(
                "A key on the command line can be seen by everyone on this machine.",
                f"Set {PREFIX}API_KEY, or name the variable that holds it in api_key_env.",
            )
        if key == "database_password" or (key == "database" and _holds_password(value)):
            raise BadInput(
                "A password on the command line can be seen by everyone on this machine.",
                f"Set PGPASSWORD or {PREFIX}DATABASE_PASSWORD, or use ~/.pgpass.",
            )
        flat[key] = _parsed(key, value, key)
    return _layer(flat, lambda _: "command line", environ)


def _flatten(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if key not in (*SECTIONS, *TOP):
            raise _unknown(key, where, (*TOP, *SECTIONS))
        if key in TOP:
            flat[key] = value
        elif not isinstance(value, dict):
            raise BadInput(f"{key} in {where} must be a table.", f"Write [{key}] above its keys.")
        elif key in NAMED:
            known, needs, example = NAMED[key]
            for name, table in value.items():
                if table == {}:
                    raise BadInput(f"{key}.{name} needs {needs}.", f"For example {example}.")
                flat |= _section(f"{key}.{name}", table, known, where)
        else:
            flat |= _section(key, value, ROLE_KEYS, where)
    return flat


def _section(name: str, table: Any, known: Iterable[str], where: str) -> dict[str, Any]:
    if not isinstance(table, dict) or name.count(".") > 1:
        raise BadInput(
            f"{name} in {where} must be a table, its name without dots.", f"Write [{name}]."
        )
    for key in table:
        if key not in known:
            raise _unknown(f"{name}.{key}", where, [f"{name}.{one}" for one in known])
    return {f"{name}.{key}": value for key, value in table.items()}


def _unknown(key: str, where: str, known: Iterable[str]) -> BadInput:
    return BadInput(f"Unknown setting {key!r} in {where}.", near(key, known))


def _holds_password(value: str) -> bool:
    try:
        found = located(value)
    except ValueError:
        return True  # what cannot be read may hold one
    return isinstance(found, PostgresAddress) and bool(found.secret)


def _parsed(key: str, value: str, name: str) -> Any:
    """A setting given as words: JSON for tables, a path with ~ for paths, else as it is.

    White space around it is taken off: files and secrets like to end in a line break.
    """
    value = value.strip()
    if key in PATHS:
        return _placed(value)
    if key.rpartition(".")[2] not in TABLES:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise BadInput(
            f"{name} is not valid JSON.", 'Write for example {"temperature": 0}.'
        ) from None


def _placed(value: str, folder: Path = Path()) -> Any:
    """A path, or the address of a database as it is."""
    if value.strip().startswith(SCHEMES):
        return value
    return folder / Path(value).expanduser()


def _layer(flat: Mapping[str, Any], origin: Any, environ: Mapping[str, str]) -> Layer:
    """The layer of `flat`, with roles spread and named keys looked up."""
    layer: Layer = {}
    for key in sorted(flat, key=lambda one: not one.startswith("both.")):
        value, where = flat[key], origin(key)
        section, _, name = key.rpartition(".")
        if name == "api_key_env":
            if f"{section}.api_key" in flat:
                raise BadInput(
                    f"{section}: api_key and api_key_env exclude each other.", "Remove one."
                )
            value, where = _named(value, where, environ), f"{where}, variable {value}"
            name = "api_key"
        for target in ROLES if section == "both" else (section,):
            layer[f"{target}.{name}".lstrip(".")] = (value, where)
    return layer


def _named(variable: Any, where: str, environ: Mapping[str, str]) -> str:
    found = environ.get(variable.strip()) if isinstance(variable, str) else None
    if not found:
        raise BadInput(
            f"api_key_env ({where}) names the variable {variable}, which is not set.",
            "Set it where the server is started, or remove api_key_env.",
        )
    return found
