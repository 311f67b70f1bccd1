"""Where a database is: a file, or the address of a PostgreSQL server without its password."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import BeforeValidator, GetCoreSchemaHandler, SecretStr
from pydantic_core import CoreSchema, core_schema

SCHEMES = ("postgresql://", "postgres://")
CONNECTIONS = 8
_ADDRESS = re.compile(
    r"postgres(ql)?://([^/?#@\s]*@)?[^/?#@\s]*(/[^/?#@\s]*)?(\?[^#@\s]*)?", re.IGNORECASE
)


@dataclass(frozen=True)
class PostgresAddress:
    """A database on a PostgreSQL server. As text it is shown without its password.

    `url` is what libpq understands, with a password or without; `password` counts more, and
    without either libpq looks where it always does (PGPASSWORD, ~/.pgpass, a service file).
    `connections` are those that one process may have open.
    """

    url: str = field(repr=False)
    password: SecretStr | None = field(default=None, repr=False)
    connections: int = CONNECTIONS

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        who, at, where = parts.netloc.rpartition("@")
        return f"postgresql://{who.partition(':')[0]}{at}{where}{parts.path}"

    @property
    def secret(self) -> str:
        """The password that is known here, or nothing."""
        if self.password is not None:
            return self.password.get_secret_value()
        who = urlsplit(self.url).netloc.rpartition("@")[0]
        return unquote(who.partition(":")[2])

    def with_settings(self, password: SecretStr | None, connections: int) -> PostgresAddress:
        """The same address with what was set beside it."""
        return replace(self, password=password or self.password, connections=connections)

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.is_instance_schema(cls, serialization=core_schema.to_string_ser_schema())


def located(given: Any) -> Any:
    """What was given as a database's place: an address as one, everything else as it is.

    Raises ValueError for an address that cannot be read, or that was taken for a path.
    """
    if isinstance(given, Path) and given.parts[:1] in (("postgresql:",), ("postgres:",)):
        raise ValueError("an address of PostgreSQL is given as text, not as a path")
    if not isinstance(given, str) or not given.strip().startswith(SCHEMES):
        return given
    if not _ADDRESS.fullmatch(given.strip()):
        raise ValueError(
            "this is no address like postgresql://user@host:5432/name (@, /, ? and # of a password "
            "are written %40, %2F, %3F and %23)"
        )
    if "password" in given.partition("?")[2].lower():
        raise ValueError("a password stands before the @, in PGPASSWORD or in ~/.pgpass")
    return PostgresAddress(given.strip())


Location = Path | PostgresAddress
DatabaseSetting = Annotated[Location, BeforeValidator(located)]
