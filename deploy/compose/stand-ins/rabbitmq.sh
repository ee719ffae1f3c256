#!/usr/bin/env bash
# What docker-compose.yml asks of the rabbitmq image: the default user, the mounted settings, the
# management and Prometheus plug-ins; data under /var/lib/rabbitmq, nothing written elsewhere.
set -euo pipefail

{
  echo "default_user = $RABBITMQ_DEFAULT_USER"
  echo "default_pass = $RABBITMQ_DEFAULT_PASS"
  cat /etc/rabbitmq/conf.d/*.conf
} >/tmp/rabbitmq.conf
echo "[rabbitmq_management,rabbitmq_prometheus]." >/tmp/enabled_plugins
# The package's own script: Debian's wrapper insists on a user.
export HOME=/var/lib/rabbitmq RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_CONFIG_FILE=/tmp/rabbitmq.conf \
  RABBITMQ_ENABLED_PLUGINS_FILE=/tmp/enabled_plugins RABBITMQ_MNESIA_BASE=/var/lib/rabbitmq/mnesia \
  RABBITMQ_LOG_BASE=/var/log/rabbitmq RABBITMQ_LOGS=-
exec /usr/lib/rabbitmq/bin/rabbitmq-server
