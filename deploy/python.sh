#!/usr/bin/env bash
# Makes .venv with the locked packages. Usage: deploy/python.sh [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}

say() { printf 'python: %s\n' "$*" >&2; }
die() { printf 'python: error: %s\n' "$*" >&2; exit 1; }

command -v "$python" >/dev/null || die "there is no $python: install Python 3.11 or later (apt-get install python3)."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  || die "$("$python" -V) is too old: install Python 3.11 or later and name it, as in 'make PYTHON=python3.11 setup'."

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  venv=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  say "installing $venv with apt"
  run=(); [ "$(id -u)" -eq 0 ] || run=(sudo)
  "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq update >&2
  "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y "$venv" >&2 \
    || die "$venv could not be installed: run 'apt-get install $venv' as root."
fi

say "installing the locked packages into .venv (about 30 s the first time)"
# Also mends one that was interrupted before pip was in it, or whose Python is gone.
.venv/bin/python -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear .venv
pip() { # what pip says is shown only when it fails
  .venv/bin/python -m pip install --disable-pip-version-check "$@" >.venv/pip.log 2>&1 \
    || { tail -n 15 .venv/pip.log >&2; return 1; }
}
pip --require-hashes -r requirements.lock \
  || die "the packages could not be installed (see above): check the network and pip's configuration."
pip --no-deps --no-build-isolation -e . || die "this project could not be installed into .venv (see above)."
touch .venv/.installed
