# Measurements of several programs, sourced by ops/bench. Each farm is in a shell of its own: other ports, other traps.

# An opaque 1080p30 group over SRT on loopback, against FFmpeg's fastest lossless codec over SRT with a passphrase.
bench_link() {
    local round port ours=() peer=() frames
    link_url() { echo "srt://127.0.0.1:$port?mode=$1&passphrase=a-long-passphrase&latency=20000&connect_timeout=5000"; }
    frames=$(rounds 150 60)
    phone "$work/phone.yuv"
    for round in $(seq "$(rounds 5 2)"); do
        ours+=("$("$build/tests/bench/link_bench" "$work/phone.yuv" 16 "$frames")")
        port=$((21000 + (BASHPID + round) % 9000))
        peer+=("$("$top/ops/lib/cpu" 1 peer "ffmpeg -v fatal -nostdin -f matroska -i '$(link_url listener)' -f null - &
            $quiet -re -stream_loop -1 -f rawvideo -s 1920x1080 -pix_fmt yuv420p -r 30 -i '$work/phone.yuv' -frames:v $frames \
                -c:v ffvhuff -threads 1 -f matroska '$(link_url caller)'; wait")")
    done
    entry link "1080p30 opaque group" "$(printf '%s' "${ours[@]}" | jq .cpu | median)" \
        "$(printf '%s' "${peer[@]}" | jq ".peer * 1000 / $frames" | median)" "CPU ms a frame" 0.2 "ffvhuff"
    entry link "added latency, median" "$(printf '%s' "${ours[@]}" | jq .latency | median)" null ms 66.7
    entry link "added latency, 99 %" "$(printf '%s' "${ours[@]}" | jq .latency_p99 | median)" null ms 66.7
}

# A camera, and above it an inset at 0.8, graphics that leave most of the picture free, a logo that moves.
whole_timeline() { # file width height insets
    local width=$2 height=$3 insets=$4 i clips=''
    camera "$work/camera.mp4"
    [ -e "$work/strip.png" ] ||
        $quiet -f lavfi -i "color=navy@0.8:s=1920x120,format=rgba,pad=1920:1080:0:900:black@0" -frames:v 1 "$work/strip.png"
    for i in $(seq "$insets"); do
        clips="$clips,{\"clips\":[{\"kind\":\"video\",\"asset\":\"inset\",\"start\":0,\"duration\":300,\"loop\":true,
            \"size\":[$((width / 3)),$((height / 3))],\"position\":[$((width * 25 / 32 - i * 40 + 40)),$((height * 5 / 18))],\"opacity\":0.8}]},
            {\"clips\":[{\"kind\":\"image\",\"asset\":\"strip\",\"start\":0,\"duration\":300}]},
            {\"clips\":[{\"kind\":\"image\",\"asset\":\"logo\",\"start\":0,\"duration\":300,\"size\":[128,128],
              \"position\":{\"keyframes\":[{\"at\":0,\"value\":[$((100 * i)),100]},{\"at\":299,\"value\":[$((width * 5 / 6)),$((height * 3 / 4))]}]}}]}"
    done
    cat >"$1" <<JSON
{"schema":"vistter.timeline/1","name":"whole","format":{"width":$width,"height":$height,"rate":"30"},"duration":300,
 "assets":{"camera":"file:$work/camera.mp4","inset":"file:$samples/movie2/movie-hello.mp4","logo":"file:$samples/pic1/debian_logo.png",
           "strip":"file:$work/strip.png"},
 "tracks":[{"clips":[{"kind":"video","asset":"camera","start":0,"duration":300}]}$clips]}
JSON
}

# The whole job at 1080p30: ours beside what cannot be saved (decoding alone, x264 alone, AAC alone), and FFmpeg in one
# process beside it too. The machine's speed drifts: each round has all of it, and a farm of its own.
bench_whole() {
    local inset=$samples/movie2/movie-hello.mp4 logo=$samples/pic1/debian_logo.png
    local x264='-c:v libx264 -preset veryfast' aac='-c:a aac -b:a 160k' camera=$work/camera.mp4 round cpu farm cut floors
    whole_timeline "$work/whole.json" 1920 1080 1
    local ours="'$build/coordinator/vistter' render '$work/whole.json' --quiet --cache '$work/cache' --crf 23 -o '$work/ours.mp4' 2>/dev/null"
    bash -c "${ours/--crf 23/--crf 1}" # what x264 is given, nearly
    $quiet -i "$work/ours.mp4" -map 0:v -c:v rawvideo -pix_fmt yuv420p -f rawvideo "$work/composite.yuv"
    $quiet -i "$work/ours.mp4" -map 0:a -c:a pcm_s16le "$work/mix.wav"
    for round in $(seq "$(rounds 3 1)"); do
        cpu=$("$top/ops/lib/cpu" 1 ours "$ours" \
            camera "$quiet -i '$camera' -f null -" inset "$quiet -stream_loop -1 -i '$inset' -frames:v 300 -f null -" \
            x264 "$quiet -f rawvideo -s 1920x1080 -r 30 -pix_fmt yuv420p -i '$work/composite.yuv' $x264 -crf 23 -f null -" \
            live "$quiet -f rawvideo -s 1920x1080 -r 30 -pix_fmt yuv420p -i '$work/composite.yuv' $x264 -b:v 4355k -maxrate 4355k \
                -bufsize 4355k -g 60 -f null -" \
            aac "$quiet -i '$work/mix.wav' $aac -f null -" \
            ffmpeg "$quiet -i '$camera' -stream_loop -1 -i '$inset' -loop 1 -framerate 30 -i '$work/strip.png' -loop 1 -framerate 30 \
                -i '$logo' -filter_complex '[1:v]scale=640:360,format=yuva420p,colorchannelmixer=aa=0.8[i];[3:v]scale=128:128[l];
                [0:v][i]overlay=1180:120[a];[a][2:v]overlay[b];[b][l]overlay=x=36+5.02*n:y=36+2.375*n' -map 1:a -frames:v 300 \
                -pix_fmt yuv420p $x264 -crf 23 $aac '$work/peer.mp4'")
        farm=$(farm_cost "$work/whole.json" 1920 1080 2 '' 12)
        cut=null
        [ "$quick" ] || cut=$(farm_cost "$work/whole.json" 1920 1080 2 1 12)
        jq -c --argjson farm "$farm" --argjson cut "$cut" 'map_values(. * 1000 / 300) + {farm: $farm, cut: $cut}' <<<"$cpu"
    done >"$work/whole.rounds"
    of() { jq "$1" "$work/whole.rounds" | median; }
    floors='(.camera + .inset + .aac'
    entry whole "vistter render" "$(of .ours)" "$(of "$floors + .x264)")" "CPU ms a frame" 1.04 floor
    entry whole "farm, placed by its planner" "$(of .farm)" "$(of "$floors + .live)")" "CPU ms a frame" 1.12 floor
    [ "$quick" ] || entry whole "farm, cut above the camera" "$(of .cut)" "$(of "$floors + .live)")" "CPU ms a frame" 1.12 floor
    entry whole "FFmpeg, one process" "$(of .ffmpeg)" "$(of "$floors + .x264)")" "CPU ms a frame" null floor
}

# CPU milliseconds a frame of all its programs but nginx, on air in real time with an RTMP destination.
farm_cost() ( # timeline width height workers cuts seconds
    . "$top/ops/lib/private.sh"
    at_exit private_farm_remove
    at_exit bench_farm_stop
    {
        bench_farm_start "$4" "$5"
        jq '.loop = true' "$1" >"$var/bench.json"
        vistter timeline put bench "$var/bench.json"
        bench_channel "$2" "$3"
        vistter channel start bench bench
        wait_until 60 "the channel did not come on air" bench_live
        pause 6
        pids=()
        for name in postgres coordinator worker1 worker2 worker3 edge; do if alive "$name"; then pids+=("$pid"); fi; done
        before=$(bench_frames) spent=$("$top/ops/lib/spent" "${pids[@]}")
        pause "$6"
        after=$(bench_frames)
    } >/dev/null
    "$top/ops/lib/spent" "${pids[@]}" | jq --argjson spent "$spent" --argjson n $((after - before)) '(. - $spent) * 1000 / $n'
)
bench_farm_start() { # workers cuts
    local i
    farm_prepare
    pg_start
    nginx_start
    coordinator_start --name coordinator --cuts "$2"
    for i in $(seq "$1"); do worker_start "$i"; done
    edge_start
    bench_nodes=$(($1 + 1))
    wait_until 20 "the nodes did not join" bench_joined
}
bench_farm_stop() {
    stop edge
    stop worker3
    farm_stop
}
# A refusal is an object: it has a length too.
bench_joined() { vistter --json node list | jq -e --argjson n "$bench_nodes" 'arrays | length >= $n'; }
bench_channel() { # width height [rate]
    vistter channel create bench --width "$1" --height "$2" --rate "${3:-30}"
    vistter destination add bench --name platform --kind rtmp --url "rtmp://127.0.0.1:$rtmp_port/live" \
        --key-file "$var/keys/demo-stream.key"
}
bench_live() { vistter --json channel status bench | jq -e '.state == "on_air"' >/dev/null; }
bench_frames() { vistter --json channel status bench | jq .counters.frames; }

# What a frame costs by layers and by size (rendered without an encoder), and by workers (the whole farm).
bench_scale() {
    local insets size workers cuts ms
    for insets in 0 1 2 4; do
        whole_timeline "$work/scale.json" 1920 1080 $insets
        ms=$(render_cost)
        entry scale "$((1 + 3 * insets)) layers, 1920x1080" "$ms" null "CPU ms a frame" null
    done
    for size in 640x360 1280x720 3840x2160; do
        whole_timeline "$work/scale.json" "${size%x*}" "${size#*x}" 1
        ms=$(render_cost)
        entry scale "4 layers, $size" "$ms" null "CPU ms a frame" null
    done
    [ -z "$quick" ] || return 0
    whole_timeline "$work/scale.json" 1920 1080 2
    while read -r workers cuts; do
        ms=$(farm_cost "$work/scale.json" 1920 1080 "$workers" "$cuts" 8 </dev/null)
        entry scale "7 layers, farm of $workers workers" "$ms" null "CPU ms a frame" null
    done <<CUTS
1
2 3
3 2,5
CUTS
}
render_cost() {
    "$build/coordinator/vistter" render "$work/scale.json" --quiet --cache "$work/cache" --frames 0..2 --hash /dev/null 2>/dev/null
    "$top/ops/lib/cpu" "$(rounds 3 1)" ours \
        "'$build/coordinator/vistter' render '$work/scale.json' --quiet --cache '$work/cache' --hash /dev/null 2>/dev/null" | jq '.ours * 1000 / 300'
}

# From a command to what an RTMP receiver decodes: a channel that comes on air, and one that goes over to another timeline.
bench_latency() (
    . "$top/ops/lib/private.sh"
    at_exit private_farm_remove
    at_exit bench_farm_stop
    at_exit receiver_stop
    {
        bench_farm_start 2 1
        bench_channel 1280 720
        for shade in 000000 ffffff; do
            printf '{"schema":"vistter.timeline/1","name":"%s","format":{"width":1280,"height":720,"rate":"30"},"duration":300,"loop":true,
                "tracks":[{"clips":[{"kind":"shape","start":0,"duration":300,"shape":{"kind":"rectangle","size":[1280,720],"fill":"#%s"},
                "position":[640,360]}]}]}' $shade $shade >"$var/$shade.json"
            vistter timeline put "shade$shade" "$var/$shade.json"
        done
    } >/dev/null
    "$top/tests/bench/watch_shade" "rtmp://127.0.0.1:$rtmp_port/live/$(cat "$var/keys/demo-stream.key")" >"$var/shades" 2>"$var/watch.log" &
    receiver=$!
    asked=$(date +%s%N)
    vistter channel start bench shade000000 >/dev/null
    answered=$(date +%s%N)
    wait_until 60 "the channel did not come on air" bench_live
    live=$(date +%s%N)
    wait_until 60 "nothing was received" shade_came dark
    entry latency "start: answered" "$(ms_between "$asked" "$answered")" null ms null
    entry latency "start: on air" "$(ms_between "$asked" "$live")" null ms null
    entry latency "start: first picture received" "$(ms_between "$asked" "$(shade_came dark)")" null ms null
    for round in $(seq "$(rounds 5 2)"); do
        shade=dark name=000000
        [ $((round % 2)) = 0 ] || shade=bright name=ffffff
        pause 3
        before=$(wc -l <"$var/shades")
        asked=$(date +%s%N)
        vistter channel update bench "shade$name" >/dev/null
        ms_between "$asked" "$(date +%s%N)" >>"$var/answers"
        wait_until 60 "the picture did not change" shade_came $shade "$before"
        ms_between "$asked" "$(shade_came $shade "$before")" >>"$var/changes"
    done
    entry latency "other timeline: answered" "$(median <"$var/answers")" null ms null
    entry latency "other timeline: picture received" "$(median <"$var/changes")" null ms null
    entry latency "of that, playout delay" 1600 null ms null
)
receiver_stop() { kill "$receiver" 2>/dev/null || true; }
ms_between() { echo $((($2 - $1) / 1000000)); }
shade_came() { # dark|bright [line]: the time at which such a picture came after that line
    tail -n +$((${2:-0} + 1)) "$var/shades" |
        awk -v shade="$1" '($2 < 128) == (shade == "dark") { print $1; found = 1; exit } END { exit !found }'
}

# A worker is killed, or frozen: when the edge turns to the standby, when that one's first full-frame picture comes, how much of what
# is buffered is left then, and when it is all there again. Four layers at 1080p, two workers, 90 frames of lead.
bench_takeover() (
    . "$top/ops/lib/private.sh"
    at_exit private_farm_remove
    at_exit bench_farm_stop
    {
        whole_timeline "$work/takeover.json" 1920 1080 1
        bench_farm_start 2 1
        jq '.loop = true' "$work/takeover.json" >"$var/bench.json"
        vistter timeline put bench "$var/bench.json"
        bench_channel 1920 1080
        vistter channel start bench bench
        wait_until 60 "the channel did not come on air" bench_live
    } >/dev/null
    for round in $(seq "$(rounds 5 2)"); do
        for fault in KILL STOP; do
            wait_until 60 "the groups are not protected" takeover_ready >/dev/null
            worker=$(vistter --json channel status bench | jq -r '.groups[0].active')
            lines=$(wc -l <"$var/log/edge.log") victim=$(cat "$run/$worker.pid")
            struck=$(date +%s%N)
            kill -$fault "$victim"
            disown -a # the shell's own words about who was killed
            wait_until 20 "no standby answered" takeover_line "provider_answered.* group=1 " >/dev/null
            noticed=$(date -d "$(takeover_line "provider_changed.* group=1 " | cut -d' ' -f1)" +%s%N)
            answer=$(takeover_line "provider_answered.* group=1 ")
            wait_until 60 "the buffers did not fill" takeover_full >/dev/null
            jq -n --arg fault $fault --argjson noticed "$(ms_between "$struck" "$noticed")" \
                --argjson first "$(sed 's/.*after_ms=\([0-9]*\).*/\1/' <<<"$answer")" \
                --argjson left "$(sed 's/.*slack=\([0-9]*\).*/\1/' <<<"$answer")" \
                --argjson full "$(ms_between "$struck" "$(date +%s%N)")" '{$fault, $noticed, $first, $left, $full}'
            [ $fault = KILL ] || kill -CONT "$victim"
            [ $fault = STOP ] || { stop "$worker" KILL; worker_start "${worker#worker}"; }
        done
    done >"$work/takeover.rounds"
    lost=$(vistter --json channel status bench | jq '.counters.concealed + .counters.skipped')
    for fault in KILL STOP; do
        name=killed
        [ $fault = KILL ] || name=frozen
        of() { jq "select(.fault == \"$fault\").$1" "$work/takeover.rounds" | median; }
        entry takeover "worker $name: noticed" "$(of noticed)" null ms null
        entry takeover "worker $name: then first frame" "$(of first)" null ms null
        entry takeover "worker $name: frames left of 90" "$(of left)" null frames null
        entry takeover "worker $name: all buffered again" "$(of full)" null ms null
    done
    entry takeover "frames lost, all rounds" "$lost" null frames 0
)
takeover_ready() {
    vistter --json channel status bench | jq -e 'all(.groups[]; .protected) and .counters.slack_frames > 80' >/dev/null
}
takeover_full() { [ "$(vistter --json channel status bench | jq .counters.slack_frames)" -gt 80 ]; }
takeover_line() { grep -m1 "$1" < <(tail -n +$((lines + 1)) "$var/log/edge.log"); }

# An edge's process is killed; the leading coordinator is killed, or frozen: how long no picture comes in at a platform with one
# address, when another coordinator leads, and that no picture is missing. Two of each, 360p25.
bench_deaths() (
    . "$top/ops/lib/private.sh"
    at_exit private_farm_remove
    at_exit deaths_stop
    coordinators=127.0.0.1:$control_port,127.0.0.1:$VISTTER_CONTROL2
    vistter() { timeout 5 "$build/coordinator/vistter" --server "$server,http://127.0.0.1:$VISTTER_HTTP2" "$@"; }
    {
        bench_farm_start 2 1
        second_start
        edge2_start
        bench_nodes=4
        wait_until 20 "the second edge did not join" bench_joined
        jq -n '{schema: "vistter.timeline/1", name: "bench", format: {width: 640, height: 360, rate: "25"}, duration: 250, loop: true,
            tracks: [{clips: [{kind: "pattern", start: 0, duration: 250, pattern: {kind: "counter"}}]}]}' >"$var/bench.json"
        vistter timeline put bench "$var/bench.json"
        bench_channel 640 360 25
        vistter channel start bench bench
        wait_until 60 "the channel did not come on air" bench_live
        wait_until 60 "not whole" deaths_ready
    } >/dev/null
    ffmpeg -v fatal -nostdin -i "rtmp://127.0.0.1:$rtmp_port/live/$(cat "$var/keys/demo-stream.key")" -map 0:v -c copy \
        -flush_packets 1 -f framehash pipe:1 </dev/null 2>/dev/null |
        while IFS=', ' read -r stream dts _; do
            [ "$stream" != 0 ] || echo "$((${EPOCHREALTIME/./} / 1000)) $dts"
        done >"$var/arrivals" &
    wait_until 30 "no picture comes in" [ -s "$var/arrivals" ] >/dev/null
    for round in $(seq "$(rounds 5 1)"); do
        for fault in edge killed frozen; do
            wait_until 60 "not whole" deaths_ready >/dev/null
            lines=$(wc -l <"$var/arrivals") edge=$(deaths_publisher) leader=$(deaths_leader "$server") other=second
            [ "$leader" = coordinator ] || other=coordinator
            struck=$(date +%s%3N)
            "deaths_$fault" >/dev/null
            took=$(($(date +%s%3N) - struck))
            deaths_back "$fault" >/dev/null
            jq -n --arg fault $fault --argjson took "$took" --argjson pause "$(deaths_pictures pause)" \
                --argjson lost "$(deaths_pictures lost)" '{$fault, $took, $pause, $lost}'
        done
    done >"$work/deaths.rounds"
    of() { jq "select(.fault == \"$1\").$2" "$work/deaths.rounds" | median; }
    entry deaths "edge killed: longest pause" "$(of edge pause)" null ms null
    entry deaths "leader killed: another leads" "$(of killed took)" null ms 4000
    entry deaths "leader frozen: another leads" "$(of frozen took)" null ms 4000
    entry deaths "pictures lost, all rounds" "$(jq .lost "$work/deaths.rounds" | jq -s add)" null pictures 0
)
deaths_stop() {
    stop second
    stop edge2
    bench_farm_stop
}
deaths_url() { if [ "$1" = second ]; then echo "http://127.0.0.1:$VISTTER_HTTP2"; else echo "$server"; fi; }
deaths_publisher() { # the edge whose child is connected to the platform
    local pid
    pid=$(ss -Htnp state established "dport = :$rtmp_port" | sed -n 's/.*"vistter-deliver",pid=\([0-9]*\).*/\1/p' | head -n 1)
    case $(ps -o args= -p "$pid") in *"$(printf %x-%x $(stat -c '%d %i' "$var/edge2"))"*) echo edge2 ;; *) echo edge ;; esac
}
deaths_leader() { curl -fsS -m 2 "$1/api/v1/status" 2>/dev/null | jq -er '.coordinators[] | select(.state == "leads").name'; }
deaths_turned() { [ "$(deaths_leader "$(deaths_url "$other")")" = "$other" ]; }
deaths_ready() {
    vistter --json channel status bench |
        jq -e '([.edge, .backup_edge] | sort) == ["edge1", "edge2"] and all(.groups[]; .protected) and .counters.slack_frames > 60' &&
        vistter --json status | jq -e '[.coordinators[].state] | sort == ["follows", "leads"]' &&
        vistter --json destination list bench | jq -e '.[0].state == "live"'
}
deaths_came() { [ "$(wc -l <"$var/arrivals")" -gt $((lines + $1)) ]; }
deaths_edge() {
    kill -KILL "$(cat "$run/$edge.pid")"
    disown -a
    wait_until 20 "no more pictures" deaths_came 50
}
deaths_killed() {
    kill -KILL "$(cat "$run/$leader.pid")"
    disown -a
    wait_until 20 "nobody leads" deaths_turned
}
deaths_frozen() {
    kill -STOP "$(cat "$run/$leader.pid")"
    wait_until 20 "nobody leads" deaths_turned
    kill -CONT "$(cat "$run/$leader.pid")"
}
deaths_back() { # fault: what was killed comes again
    case $1 in
    edge) stop $edge KILL && "${edge}_start" ;;
    killed) stop "$leader" KILL && "${leader}_start" --name "$leader" ;;
    esac
}
deaths_pictures() { # pause|lost: since the blow; a picture is 40 ms
    tail -n +"$lines" "$var/arrivals" | awk -v what="$1" '
        at && $1 - at > pause { pause = $1 - at }
        last && $2 - last > 60 { lost += int(($2 - last + 20) / 40) - 1 }
        { at = $1; last = $2 } END { print what == "pause" ? pause + 0 : lost + 0 }'
}

# The demo on a farm of its own in real time, ten minutes: late, concealed and skipped frames, and what each stage costs.
bench_realtime() (
    . "$top/ops/lib/private.sh"
    at_exit private_farm_remove
    at_exit farm_stop
    farm_prepare
    farm_start
    demo_on_air >/dev/null
    least=1000000 end=$((SECONDS + $(rounds 600 60)))
    while [ $SECONDS -lt $end ]; do
        pause 2
        slack=$(vistter --json channel status demo | jq .counters.slack_frames)
        [ "$slack" -ge "$least" ] || least=$slack
    done
    vistter --json status >"$var/status.json"
    skipped=$(cat "$var"/edge/as-run-*.jsonl 2>/dev/null | jq -s '[.[] | select(.step == "skipped") | .to - .from + 1] | add // 0')
    for counter in frames late concealed; do
        goal=0
        [ $counter != frames ] || goal=null
        entry realtime "demo, 1280x720: $counter" "$(jq ".channels[0].counters.$counter" "$var/status.json")" null frames $goal
    done
    entry realtime "demo, 1280x720: skipped" "$skipped" null frames 0
    entry realtime "demo, 1280x720: least slack" "$least" null frames null
    jq -r '.nodes[] | .name as $node | .stages[] | [$node, .group, .kind, .median_ms, .p99_ms] | @tsv' "$var/status.json" |
        while read -r node group kind middle high; do
            entry realtime "$node, group $group, $kind: median" "$middle" null ms null
            entry realtime "$node, group $group, $kind: 99 %" "$high" null ms null
        done
    jq -e '.channels[0].counters | .frames > 0 and .late == 0 and .concealed == 0' "$var/status.json" >/dev/null &&
        [ "$skipped" = 0 ]
)
