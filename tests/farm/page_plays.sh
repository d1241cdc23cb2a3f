#!/usr/bin/env bash
# The first page plays the programme in Chromium, with sound, near its live end.
# Usage: page_plays.sh BUILD_FOLDER SOURCE_FOLDER
. "$2/tests/farm/lib.sh"
cat >"$var/page.json" <<'JSON'
{"schema":"vistter.timeline/1","name":"page","format":{"width":640,"height":360,"rate":"30"},"duration":300,
 "loop":true,"tracks":[{"clips":[{"kind":"pattern","start":0,"duration":300,
 "pattern":{"kind":"bars","tone":{"frequency":440,"level":-20}}}]},{"clips":[{"kind":"pattern","start":0,
 "duration":300,"size":[320,180],"pattern":{"kind":"counter"}}]}]}
JSON
[ -d "$source/tests/api/node_modules" ] || npm ci --prefix "$source/tests/api" --silent
farm_of 2
on_air page "$var/page.json" --width 640 --height 360 --rate 30
node "$source/tests/farm/page_plays.mjs" "$source/tests/api" "$server/" >"$var/page.out" 2>&1 || true
cat "$var/page.out" >&2
check "the page plays" grep -q '^plays' "$var/page.out"
check "with sound" grep -q '^sounds' "$var/page.out"
check "with its levels" grep -q '^levels' "$var/page.out"
check "within two seconds of the live end" grep -q '^live' "$var/page.out"
