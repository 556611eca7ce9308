#!/usr/bin/env bash
# Builds .venv with the pinned packages: bash deploy/setup.sh
# PYTHON=... chooses the interpreter. Does nothing where .venv is up to date (see the Makefile's stamp).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

is_supported() {
  command -v "$1" >/dev/null 2>&1 &&
    "$1" -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, 13)))' 2>/dev/null
}

fail() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}

find_python() {
  if [ -n "${PYTHON:-}" ]; then
    is_supported "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.11, 3.12 or 3.13"
    echo "$PYTHON"
    return
  fi
  for candidate in python3.13 python3.12 python3.11 python3 python; do
    if is_supported "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  fail "no Python 3.11, 3.12 or 3.13 found; on Debian or Ubuntu: sudo apt-get install python3 python3-venv" \
    "or name one: make setup PYTHON=/path/to/python3.12"
}

# Debian and Ubuntu put ensurepip into a package of its own; a system pip can stand in for it.
make_environment() {
  if "$1" -c 'import ensurepip, venv' 2>/dev/null; then
    "$1" -m venv --clear .venv
  elif "$1" -m pip --version >/dev/null 2>&1; then
    "$1" -m venv --clear --without-pip .venv
    "$1" -m pip --python .venv/bin/python install --quiet pip
  else
    local version
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    fail "$1 cannot make virtual environments" \
      "on Debian or Ubuntu: sudo apt-get install python${version}-venv" "then run the same command again"
  fi
}

python=$(find_python)
echo "setup: building .venv with $("$python" --version) ($python)"
make_environment "$python"
# PIP_CONSTRAINT, unlike --constraint, also holds for the packages that build this one.
PIP_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 \
  .venv/bin/python -m pip install --quiet --editable '.[dev]'
touch .venv/.ready
echo "setup: .venv is ready"
