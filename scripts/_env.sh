# Sourced by the other scripts: makes .venv with transferkit and its test tools, once per change of setup.cfg.
set -eu
cd "$(dirname "$0")/.."
# Where the surroundings forbid it, each of the hundreds of processes of the tests compiles all that it imports.
unset PYTHONDONTWRITEBYTECODE

find_python() {
  for name in "${PYTHON:-}" python3.11 python3.12 python3.13 python3; do
    [ -n "$name" ] && command -v "$name" >/dev/null 2>&1 || continue
    "$name" -c 'import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || continue
    echo "$name"
    return
  done
  echo "transferkit needs Python 3.11, 3.12 or 3.13; name one with PYTHON=/path/to/python $0" >&2
  exit 2
}

make_environment() {
  extra=$1
  stamp=".venv/.made-$extra"
  if [ -f "$stamp" ] && cmp -s setup.cfg "$stamp"; then return; fi
  python=$(find_python)
  echo "making .venv with $($python --version) (about a minute)"
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[$extra]"
  cp setup.cfg "$stamp"
}
