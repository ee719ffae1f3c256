#!/usr/bin/env bash
# What docker-compose.yml asks of the postgres image: a first start that makes the cluster and runs
# /docker-entrypoint-initdb.d, then the server that the command names.
set -euo pipefail

socket=/var/run/postgresql
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --username=postgres --pwfile=<(echo "$POSTGRES_PASSWORD") --auth-local=trust \
    --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 >/dev/null
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  pg_ctl --wait --silent --options="-c listen_addresses='' -k $socket" start
  for script in /docker-entrypoint-initdb.d/*; do
    PGHOST=$socket bash "$script"
  done
  pg_ctl --wait --silent --mode=fast stop
fi
exec "$@" -c "listen_addresses=*" -k "$socket"
