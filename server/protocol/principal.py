"""On whose behalf a call is made."""

from __future__ import annotations

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.requests import Request

LOCAL = "local"
"""The owner of everything that is done without authentication: on stdio, whoever started it."""


def principal(request: object) -> str:
    """The owner on whose behalf a request runs; LOCAL where nothing was to be proven.

    Requests without credentials, where they are needed, are stopped before they come here.
    """
    user = request.scope.get("user") if isinstance(request, Request) else None
    if isinstance(user, AuthenticatedUser):
        return user.access_token.subject or user.access_token.client_id
    return LOCAL
