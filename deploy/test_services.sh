#!/usr/bin/env bash
# Installs what some tests need beside the Python packages, where that is possible: PostgreSQL for tests of several
# servers over one catalogue, Chromium for those of the dashboard's pages. Without them those tests skip and say so.
# It needs root and a reachable package list of Debian or Ubuntu. It never fails.
set -uo pipefail

have_postgres() { command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }
have_browser() { command -v chromium >/dev/null || command -v chromium-browser >/dev/null; }

missing=()
have_postgres || missing+=(postgresql)
have_browser || missing+=(chromium)
if [ "${#missing[@]}" -eq 0 ]; then
  echo "test services: all there"
  exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "test services: ${missing[*]} missing, and only root on Debian or Ubuntu can install them; their tests skip"
  exit 0
fi

export DEBIAN_FRONTEND=noninteractive
# Debian's package would make and start a server of its own, which the tests do not need.
settings=/etc/postgresql-common/createcluster.conf
[ -e "$settings" ] || { mkdir -p "${settings%/*}" && echo 'create_main_cluster = false' >"$settings"; }
if ! timeout 120 apt-get update -qq; then
  echo "test services: the package lists cannot be reached; tests of ${missing[*]} skip"
  exit 0
fi
for package in "${missing[@]}"; do
  if timeout 300 apt-get install -y -qq --no-install-recommends "$package" >/dev/null; then
    echo "test services: $package installed"
  else
    echo "test services: $package cannot be installed; its tests skip"
  fi
done
exit 0
