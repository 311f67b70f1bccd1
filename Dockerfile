# The server in a container: stdio by default, sessions kept in the volume /data.
#   docker run -i --rm -v textgrad:/data textgrad-mcp
FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir --prefix=/install .

FROM python:3.13-slim
LABEL io.modelcontextprotocol.server.name="io.github.textgrad-mcp/textgrad-mcp"
COPY --from=build /install /usr/local
RUN useradd --uid 10001 --create-home textgrad && install -d -o textgrad -m 700 /data
USER textgrad
ENV TEXTGRAD_MCP_DATABASE=/data/textgrad.db PYTHONUNBUFFERED=1
VOLUME /data
ENTRYPOINT ["textgrad-mcp"]
