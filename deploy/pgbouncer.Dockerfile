FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends pgbouncer && rm -rf /var/lib/apt/lists/*
USER postgres
ENTRYPOINT ["pgbouncer", "/etc/pgbouncer/pgbouncer.ini"]
