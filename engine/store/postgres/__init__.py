"""The store on a PostgreSQL server: the same jobs, over psycopg. Needs the extra `postgres`."""
