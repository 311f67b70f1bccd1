# The server in a container: stdio by default, sessions kept in the volume /data.
#   docker run -i --rm -v textgrad:/data textgrad-mcp
# Over HTTP, for many users; /healthz and /readyz tell an orchestrator how it is:
#   docker run --rm -v textgrad:/data textgrad-mcp token new OWNER --tokens /data/tokens
#   docker run -p 8000:8000 -v textgrad:/data textgrad-mcp \
#     serve --http --host 0.0.0.0 --tokens /data/tokens --allowed-host localhost:8000
# With --build-arg EXTRAS='[metrics,postgres]' several of them can share one PostgreSQL database:
# deploy/compose.yaml, docs/fleet.md.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY engine engine
COPY schemas schemas
COPY server server
ARG EXTRAS=
RUN pip install --no-cache-dir --prefix=/install ".${EXTRAS}"

FROM python:3.13-slim
LABEL io.modelcontextprotocol.server.name="io.github.textgrad-mcp/textgrad-mcp"
COPY --from=build /install /usr/local
RUN useradd --uid 10001 --create-home textgrad && install -d -o textgrad -m 700 /data
USER textgrad
ENV TEXTGRAD_MCP_DATABASE=/data/textgrad.db PYTHONUNBUFFERED=1
VOLUME /data
ENTRYPOINT ["textgrad-mcp"]
