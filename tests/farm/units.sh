#!/usr/bin/env bash
# systemd finds nothing wrong with the units, and they stand where it looks for them.
# Usage: units.sh BUILD_FOLDER
set -eu
command -v systemd-analyze >/dev/null || { echo "systemd-analyze is not installed" >&2; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$1" --prefix "$work" >"$work/log"
units=("$work"/lib/systemd/system/vistter*)
[ ${#units[@]} = 4 ]
# The programs are not installed in the machine's own folders.
sed -i "s|^ExecStart=|&$work/bin/|" "${units[@]}"
systemd-analyze verify "${units[@]}" 2>&1 | tee "$work/findings"
[ ! -s "$work/findings" ]
for unit in "$work"/lib/systemd/system/*.service; do
    exposure=$(systemd-analyze security --offline=true "$unit" | sed -n 's/.*exposure level .*: \([0-9.]*\) .*/\1/p')
    echo "${unit##*/}: exposure ${exposure:?}"
    awk -v e="$exposure" 'BEGIN {exit !(e < 5)}' || { echo "exposed" >&2; exit 1; }
done
