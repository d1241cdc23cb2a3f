#!/usr/bin/env bash
# Runs the API's tests: tests/api/run.sh BUILD-FOLDER [FILE...]. Installs the tools when missing.
set -eu
VISTTER_BUILD=$(cd "$1" && pwd)
export VISTTER_BUILD
shift
cd "$(dirname "$0")"
(
    # Several tests may find the folder missing at once.
    flock 9
    [ -e node_modules/.package-lock.json ] && [ ! package-lock.json -nt node_modules/.package-lock.json ] ||
        npm ci --no-audit --no-fund --loglevel=error
) 9>"${TMPDIR:-/tmp}/vistter-api-npm.lock"
[ $# -gt 0 ] || set -- *.test.js
exec node --test "$@"
