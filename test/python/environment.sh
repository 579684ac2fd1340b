#!/bin/sh
# Makes a Python environment for tests, once: environment.sh PYTHON LOCK TARGET MODULES
# MODULES, comma-separated, must be importable in it.
# Two at once are safe: one makes it, the other waits. An interrupted one leaves nothing at TARGET.
set -eu
python=$1 lock=$2 target=$3 modules=$4

mkdir -p "$(dirname "$target")"
exec 9>"$target.lock"
flock 9
[ -e "$target" ] && exit 0
rm -rf "$target".draft.*

draft=$(mktemp -d "$target.draft.XXXXXX")
trap 'rm -rf "$draft"' EXIT
trap 'exit 130' INT TERM
"$python" -m venv "$draft"
# A lock is complete; it may leave out what is never loaded.
"$draft/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes \
  --only-binary :all: -r "$lock"
"$draft/bin/python" -c "import $modules"
mv "$draft" "$target"
