"""The connection to an endpoint: addresses, keys, headers, and the proxies that stand between."""

from __future__ import annotations

import gc
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from .faults import Endpoint, proxy_variables

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2
    from openai import AsyncOpenAI

OPENAI_URL = "https://api.openai.com/v1"
"""Where calls go when no address is set."""
_CONNECT_TIMEOUT = 10.0


def connect(endpoint: Endpoint, headers: Mapping[str, str], timeout: float) -> AsyncOpenAI:
    """A client of `endpoint`. Takes half a second, the first time."""
    from openai import AsyncOpenAI, Timeout

    _spare_imports()
    address = urlsplit(endpoint.base_url)
    query = dict(parse_qsl(address.query))
    # Azure's own addresses have a version in them and want the key in a header of its own.
    own = {"api-key": endpoint.key} if "api-version" in query and endpoint.key else {}
    client = AsyncOpenAI(
        api_key=endpoint.key or "none",  # without one the client would look for others' keys
        base_url=urlunsplit(address._replace(query="", fragment="")),
        default_query=query,
        default_headers={**own, **{_spelt(name): value for name, value in headers.items()}},
        max_retries=0,
        timeout=Timeout(timeout, connect=min(timeout, _CONNECT_TIMEOUT)),
        http_client=_client()(),
    )
    if address.hostname != urlsplit(OPENAI_URL).hostname:
        client.organization = client.project = None
    return client


def _spelt(name: str) -> str:
    """A header's name as the client spells it, so that one of its own is replaced, not doubled."""
    return {"authorization": "Authorization", "user-agent": "User-Agent"}.get(name.lower(), name)


@cache
def _spare_imports() -> None:
    """Tell the garbage collector, once, that what was imported lives as long as the process.

    Else it goes through a hundred thousand objects every hundred calls or so, and all wait for it.
    """
    gc.freeze()


@cache
def _client() -> type[httpx2.AsyncClient]:
    """The HTTP client: over aiohttp's connections, for the default ones look at every idle
    connection for each request; over the default ones where a SOCKS proxy stands between."""
    import httpx2
    from openai import DefaultAioHttpClient

    class Proxied(httpx2.AsyncBaseTransport):
        """Connections through a proxy: what goes wrong with them is told as the proxy's."""

        def __init__(
            self,
            proxy: httpx2.Proxy,
            inner: httpx2.AsyncBaseTransport | None,
            *errors: type[Exception],
        ) -> None:
            address = f"{proxy.url.scheme}://{proxy.url.netloc.decode()}"
            self._via = f"through the proxy {address}, which {_namer(address)}"
            self._inner = inner
            self._errors: tuple[type[Exception], ...] = (httpx2.TransportError, OSError, *errors)

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            if self._inner is None:
                raise httpx2.UnsupportedProtocol(f"{self._via}: SOCKS needs textgrad-mcp[socks]")
            try:
                return await self._inner.handle_async_request(request)
            except (httpx2.ReadTimeout, httpx2.PoolTimeout):
                raise
            except self._errors as error:
                raise httpx2.ProxyError(f"{self._via}: {error or type(error).__name__}") from error

        async def aclose(self) -> None:
            if self._inner is not None:
                await self._inner.aclose()

    class Client(DefaultAioHttpClient):
        def _init_proxy_transport(
            self, proxy: httpx2.Proxy, *rest: Any, **options: Any
        ) -> httpx2.AsyncBaseTransport:
            if not proxy.url.scheme.startswith("socks"):
                return Proxied(proxy, super()._init_proxy_transport(proxy, *rest, **options))
            try:
                from socksio import SOCKSError
            except ImportError:
                return Proxied(proxy, None)
            inner = httpx2.AsyncHTTPTransport(proxy=proxy, **options)
            return Proxied(proxy, inner, SOCKSError)

    return Client


def _namer(address: str) -> str:
    """Who names a proxy: a variable of the environment, or the system's settings."""
    host = address.rpartition("://")[2]
    names = [n for n, value in proxy_variables().items() if host in value]
    return f"{' and '.join(names)} names" if names else "the system's settings name"
