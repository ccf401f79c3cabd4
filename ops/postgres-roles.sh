#!/bin/sh
# The roles of the database, made by its superuser: an owner, who migrates, and a worker. Compose runs it at each `up`:
# it may be run again.
set -eu
psql --set ON_ERROR_STOP=1 --no-psqlrc --quiet --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --set owner_password="$POSTGRES_OWNER_PASSWORD" --set worker_password="$POSTGRES_WORKER_PASSWORD" \
  --set database="$POSTGRES_DB" --set superuser="$POSTGRES_USER" <<'SQL'
SELECT format('CREATE ROLE %I LOGIN', name) FROM (VALUES ('genqueue_owner'), ('genqueue_worker')) AS wanted (name)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE genqueue_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'owner_password';
ALTER ROLE genqueue_worker LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'worker_password';
ALTER DATABASE :"database" OWNER TO genqueue_owner;
-- What an older genqueue made belongs to the superuser: the owner takes it.
SELECT format('ALTER TABLE %s OWNER TO genqueue_owner', c.oid::regclass) FROM pg_class c
WHERE c.relkind = 'r' AND c.relowner = to_regrole(quote_ident(:'superuser'))
  AND c.relnamespace IN (to_regnamespace('public'), to_regnamespace('genqueue')) \gexec
SQL
