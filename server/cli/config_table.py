"""The settings in force as a person or a script reads them: no secret is ever shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from ...engine.answerers.faults import Endpoint
from ...schemas.database import PostgresAddress
from ...schemas.settings import RoleSettings, Settings
from ..settings.load import Origins, resolve
from ..terminal import Cell, Styles


def as_text(settings: Settings, origins: Origins, path: Path, paint: Styles) -> str:
    """A table of every setting, its value and where it came from, led by who answers."""
    lines = [f"configuration file: {path}{'' if path.is_file() else ' (there is none)'}"]
    lines += [f"{name}: {_who(one)}" for name, one in settings.answering.items()]
    rows = [_row(key, _words(shown(settings, key)), where) for key, where in origins.items()]
    return "\n".join([*lines, "", *paint.table(rows)])


def _row(key: str, value: str, where: str) -> tuple[Cell, Cell, Cell]:
    """Defaults are dim, so that what somebody set stands out."""
    if where == "default":
        return (key, "dim"), (value, "dim"), (where, "dim")
    return (key, "bold"), (value, "cyan"), where


def facts(settings: Settings, origins: Origins, path: Path) -> dict[str, Any]:
    """The same for programs: `settings` by dotted name, `answerers` by role or name, `file`."""
    return {
        "file": str(path),
        "answerers": {name: resolve(one) for name, one in settings.answering.items()},
        "settings": {
            key: {"value": shown(settings, key), "origin": where} for key, where in origins.items()
        },
    }


def shown(settings: Settings, key: str) -> Any:
    """The value of a setting by its dotted name, fit for JSON, with secrets taken out."""
    value: Any = settings
    for part in key.split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    if key.endswith(("api_key", "database_password")):
        return "set" if isinstance(value, SecretStr) and value.get_secret_value() else "not set"
    if key.endswith(".headers"):
        return dict.fromkeys(value, "set")
    if key.endswith(".base_url") and value:
        return Endpoint(value).where
    return str(value) if isinstance(value, Path | PostgresAddress) else value


def _who(role: RoleSettings) -> str:
    match resolve(role):
        case "openai":
            where = Endpoint(role.base_url).where if role.base_url else "OpenAI"
            return f"answered by {role.model or 'the only model'} at {where}"
        case "assistant":
            return "answered by the assistant that calls the tools"
        case "sampling":
            return "answered by the client's model (sampling)"
        case name:
            return f"answered by {name}, which an installed package adds"


def _words(value: Any) -> str:
    if value is None or value in ({}, []):
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
