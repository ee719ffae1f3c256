#!/usr/bin/env bash
# Adds to .env, beside docker-compose.yml, the secrets that it lacks. What is there stays.
set -euo pipefail
cd "$(dirname "$0")/../.."

umask 077
touch .env
for name in ADMIN_KEY TOKEN_ENCRYPTION_KEY POSTGRES_PASSWORD API_DB_PASSWORD \
  SESSION_HOST_DB_PASSWORD DEVICE_STORE_PASSWORD RABBITMQ_PASSWORD \
  API_BROKER_PASSWORD SESSION_HOST_BROKER_PASSWORD; do
  grep -q "^$name=." .env && continue
  # Hexadecimal: these stand in URLs as they are.
  echo "$name=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')" >>.env
  echo "made $name"
done
