#!/usr/bin/env bash
# Builds .venv from the python3 that is there: what requirements.lock names, checked by hash, and
# the workspace members, editable. Called by the Makefile when one of its inputs is newer;
# with --only-uv it stops before the lock is read (`make lock` may be there to mend it).
set -euo pipefail
cd "$(dirname "$0")/../.."

python="${PYTHON:-python3}"
venv=.venv

fail() {
  echo "$1" >&2
  exit 1
}

command -v "$python" >/dev/null ||
  fail "There is no $python on the PATH: install Python 3.11 or newer, or name one with PYTHON=/path/to/python3."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "$("$python" --version) is too old: Python 3.11 or newer is needed; name one with PYTHON=/path/to/python3."

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y python3-venv >/dev/null
  else
    fail "Python's venv module is missing: run 'sudo apt-get install python3-venv' once, then try again."
  fi
fi

if ! "$venv/bin/python" -c '' 2>/dev/null; then
  echo "Making $venv with $("$python" --version) …"
  rm -rf "$venv"
  "$python" -m venv "$venv"
fi

# The lock's own entry for uv, with its hashes: the only package that pip installs.
wanted_uv="$(sed -n 's/^uv==\([^ ]*\).*/\1/p' requirements.lock)"
if [ "$("$venv/bin/uv" --version 2>/dev/null | cut -d' ' -f2)" != "$wanted_uv" ]; then
  sed -n '/^uv==/,/[^\\]$/p' requirements.lock >"$venv/uv.lock"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$venv/uv.lock"
fi

[ "${1:-}" != --only-uv ] || exit 0

export VIRTUAL_ENV="$PWD/$venv" UV_LINK_MODE="${UV_LINK_MODE:-copy}"
echo "Installing what requirements.lock names …"
"$venv/bin/uv" pip sync --quiet --require-hashes requirements.lock
"$venv/bin/uv" pip install --quiet --no-deps --no-build-isolation \
  --editable libs/contracts --editable libs/runtime \
  --editable services/api --editable services/session-host
