#!/usr/bin/env bash
# What docker-compose.yml asks of the PgBouncer image: a configuration from the environment, then the
# server.
set -euo pipefail

echo "\"$DB_USER\" \"$DB_PASSWORD\"" >/etc/pgbouncer/userlist.txt
cat >/etc/pgbouncer/pgbouncer.ini <<EOF
[databases]
$DB_NAME = host=$DB_HOST port=5432
[pgbouncer]
listen_addr = 0.0.0.0
listen_port = 5432
unix_socket_dir =
auth_file = /etc/pgbouncer/userlist.txt
auth_type = $AUTH_TYPE
pool_mode = $POOL_MODE
default_pool_size = $DEFAULT_POOL_SIZE
max_client_conn = $MAX_CLIENT_CONN
ignore_startup_parameters = $IGNORE_STARTUP_PARAMETERS
EOF
exec pgbouncer /etc/pgbouncer/pgbouncer.ini
