#!/usr/bin/env bash
# The databases, roles and schemas that the services expect: what deploy/servers/databases.py makes,
# for the postgres image, which runs this at its first start. It may be run again at any time, for
# example to set changed passwords; what is there keeps its data.
set -euo pipefail

for name in API_DB_PASSWORD SESSION_HOST_DB_PASSWORD DEVICE_STORE_PASSWORD; do
  [ -n "${!name:-}" ] || { echo "$name is not set" >&2; exit 1; }
done

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 \
  --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\getenv api_password API_DB_PASSWORD
\getenv session_host_password SESSION_HOST_DB_PASSWORD
\getenv devices_password DEVICE_STORE_PASSWORD

SELECT format('CREATE ROLE %I LOGIN', wanted)
FROM unnest(ARRAY['wa_api', 'wa_session_host', 'wa_devices']) AS wanted
WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = wanted)
\gexec
ALTER ROLE wa_api PASSWORD :'api_password';
ALTER ROLE wa_session_host PASSWORD :'session_host_password';
ALTER ROLE wa_devices PASSWORD :'devices_password';
ALTER ROLE wa_api SET search_path = api;
ALTER ROLE wa_session_host SET search_path = session_host;

SELECT 'CREATE DATABASE whatsapp'
WHERE NOT EXISTS (SELECT 1 FROM pg_database WHERE datname = 'whatsapp')
\gexec
SELECT 'CREATE DATABASE wa_devices OWNER wa_devices'
WHERE NOT EXISTS (SELECT 1 FROM pg_database WHERE datname = 'wa_devices')
\gexec
REVOKE ALL ON DATABASE whatsapp FROM PUBLIC;
REVOKE ALL ON DATABASE wa_devices FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE whatsapp TO wa_api, wa_session_host;

\connect whatsapp
REVOKE ALL ON SCHEMA public FROM PUBLIC;
SET client_min_messages = warning;
CREATE SCHEMA IF NOT EXISTS api AUTHORIZATION wa_api;
CREATE SCHEMA IF NOT EXISTS api_rebuild AUTHORIZATION wa_api;
CREATE SCHEMA IF NOT EXISTS session_host AUTHORIZATION wa_session_host;
SQL
