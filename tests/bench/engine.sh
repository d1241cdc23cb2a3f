# Measurements within one process, sourced by ops/bench.
samples=/usr/share/forensics-samples/original-files
quiet='ffmpeg -v error -nostdin -y'
camera() { # file: 300 frames of 1080p from a 720p clip
    [ -e "$1" ] || $quiet -stream_loop 1 -i "$samples/movie2/movie-hello.mp4" -vf scale=1920:1080 -frames:v 300 -c:v libx264 -preset fast \
        -b:v 12M -an "$1"
}
graphics() { # file: a lower third with text, straight alpha
    [ -e "$1" ] || $quiet -f lavfi -i "color=navy@0.8:s=1920x120,format=rgba,pad=1920:1080:0:900:black@0,drawtext=font=Noto
        Sans:text='A name and what they do':x=80:y=925:fontsize=64:fontcolor=white" -vf format=yuva420p -frames:v 1 -f rawvideo "$1"
}
phone() { # file: 16 frames of a phone's 1080p video, raw
    [ -e "$1" ] || $quiet -i "$samples/movie1/VID_20191220_170832.mp4" -frames:v 16 -pix_fmt yuv420p -f rawvideo "$1"
}

# Each kernel at each level against its C reference, in processor time; what is shared out against one thread, as time passes.
bench_kernels() {
    local work_name level ms reference peer
    "$build/tests/kernels/kernels_bench" "$(rounds 41 11)" | while IFS=$'\t' read -r work_name level ms reference; do
        peer=C
        [ "$level" != "2 hands" ] || peer="one hand"
        entry kernels "$work_name, $level" "$ms" "$reference" ms null "$peer"
    done
}

# Compositing at 1080p, raw in and out: 1, 3 and 7 layers over a video, all moving; and with graphics that stand.
compose() { # NAME moving|still GOAL
    local layers result peer goal
    camera "$work/compose.mp4"
    graphics "$work/graphics.yuva"
    $quiet -i "$work/compose.mp4" -frames:v 8 -pix_fmt yuv420p -f rawvideo "$work/base.yuv"
    $quiet -i "$samples/movie2/movie-hello.mp4" -vf scale=640:360 -frames:v 8 -pix_fmt yuv420p -f rawvideo "$work/inset.yuv"
    $quiet -i "$samples/pic1/debian_logo.png" -vf scale=256:256,format=yuva420p -frames:v 1 -f rawvideo "$work/logo.yuva"
    for layers in 1 3 7; do
        result=$("$build/tests/bench/compose_bench" "$work/base.yuv" "$work/inset.yuv" "$work/logo.yuva" "$work/graphics.yuva" \
            $layers "$2" "$(rounds 9 5)" "$(rounds 60 20)")
        jq -e '.ours_psnr > 55' <<<"$result" >/dev/null || { echo "compose: our picture is not exact enough: $result" >&2; exit 1; }
        for peer in ffmpeg libyuv; do
            goal=$3
            [ $peer = ffmpeg ] || goal=0.5
            entry "$1" "$layers layers over 1080p" "$(jq .ours <<<"$result")" "$(jq ".$peer" <<<"$result")" "CPU ms a frame" "$goal" $peer
        done
    done
}
bench_compose() {
    compose compose moving 0.25
    compose_programs
}
bench_compose_typical() { compose compose-typical still 0.1; }

# The same layers, which stand, by programs that read raw files and throw the result away.
compose_programs() {
    local layers frames result ours from size
    frames=80
    for from in base inset; do
        size=1920x1080
        [ $from = base ] || size=640x360
        $quiet -stream_loop -1 -f rawvideo -s $size -pix_fmt yuv420p -r 30 -i "$work/$from.yuv" -frames:v "$frames" -c:v rawvideo -f nut "$work/$from.nut"
    done
    $quiet -f rawvideo -s 1920x1080 -pix_fmt yuva420p -i "$work/graphics.yuva" "$work/graphics.png"
    $quiet -f rawvideo -s 256x256 -pix_fmt yuva420p -i "$work/logo.yuva" "$work/logo.png"
    for layers in $([ "$quick" ] && echo 3 || echo 1 3 7); do
        ours=$("$build/tests/bench/compose_bench" "$work/base.yuv" "$work/inset.yuv" "$work/logo.yuva" "$work/graphics.yuva" \
            $layers moving 5 20 | jq .ours)
        result=$("$top/ops/lib/cpu" "$(rounds 3 1)" gstreamer "$(gstreamer_command $layers "$frames")" \
            mlt "$(mlt_command $layers "$frames") 2>/dev/null")
        entry compose "$layers layers over 1080p" "$ours" "$(jq ".gstreamer * 1000 / $frames" <<<"$result")" "CPU ms a frame" 0.05 gstreamer
        entry compose "$layers layers over 1080p" "$ours" "$(jq ".mlt * 1000 / $frames" <<<"$result")" "CPU ms a frame" 0.05 mlt
    done
}
gstreamer_command() { # layers frames
    local i pads='' sources=''
    raw() { # file format width height pad: of so many frames, whose files hold one or, of I420, eight
        echo "multifilesrc location=$work/$1 loop=true num-buffers=$(($2 == 420 ? frames / 8 : frames)) ! rawvideoparse format=$3420" \
            "width=$4 height=$5 framerate=30/1 ! c.sink_$6"
    }
    for i in $(seq "$1"); do
        case $((i % 3)) in
        1) sources="$sources $(raw graphics.yuva 1 a 1920 1080 "$i")" ;;
        2) sources="$sources $(raw inset.yuv 420 i 640 360 "$i")" pads="$pads sink_$i::alpha=0.8 sink_$i::xpos=1100 sink_$i::ypos=80" ;;
        0) sources="$sources $(raw logo.yuva 1 a 256 256 "$i")" pads="$pads sink_$i::xpos=60 sink_$i::ypos=60" ;;
        esac
    done
    echo "gst-launch-1.0 -q compositor name=c $pads ! video/x-raw,format=AYUV,width=1920,height=1080,framerate=30/1 ! videoconvert !" \
        "video/x-raw,format=I420 ! fakesink sync=false $(raw base.yuv 420 i 1920 1080 0) $sources"
}
mlt_command() { # layers frames
    local i tracks="$work/base.nut out=$(($2 - 1))" transitions=''
    for i in $(seq "$1"); do
        case $((i % 3)) in
        1) tracks="$tracks -track $work/graphics.png out=$(($2 - 1))" geometry=0/0:1920x1080:100 ;;
        2) tracks="$tracks -track $work/inset.nut out=$(($2 - 1))" geometry=1100/80:640x360:80 ;;
        0) tracks="$tracks -track $work/logo.png out=$(($2 - 1))" geometry=60/60:256x256:100 ;;
        esac
        transitions="$transitions -transition composite geometry=0=$geometry a_track=0 b_track=$i out=$(($2 - 1)) distort=1"
    done
    echo "QT_QPA_PLATFORM=offscreen melt -silent -profile atsc_1080p_30 $tracks $transitions" \
        "-consumer avformat:/dev/null f=rawvideo vcodec=rawvideo an=1 real_time=0 terminate_on_pause=1"
}

# A full-frame blend against copying within as much memory.
bench_limit() {
    local threads ours copy
    "$build/tests/bench/limit_bench" "$(rounds 21 5)" | jq -r '[.threads, .ours, .copy] | @tsv' | while read -r threads ours copy; do
        entry limit "1080p blend, $threads threads" "$ours" "$copy" GB/s 0.6 memcpy
    done
}

# Lossless coding of phone video, and of graphics with alpha, for links.
bench_intermediate() {
    local result
    phone "$work/phone.yuv"
    graphics "$work/graphics.yuva"
    result=$("$build/tests/bench/intermediate_bench" "$work/phone.yuv" 16 "$work/graphics.yuva" "$(rounds 9 5)")
    of() { jq "$1" <<<"$result"; }
    entry intermediate "1080p video: encode" "$(of .ours.encode)" "$(of .utvideo.encode)" "CPU ms a frame" 0.2 utvideo
    entry intermediate "1080p video: decode" "$(of .ours.decode)" "$(of .utvideo.decode)" "CPU ms a frame" 0.2 utvideo
    entry intermediate "1080p video: size" "$(of .ours.size)" "$(of .utvideo.size)" Mbit/s 1 utvideo
    entry intermediate "graphics with alpha: still" "$(of .still)" null Mbit/s 0.1
    entry intermediate "graphics with alpha: animated" "$(of .animated)" null Mbit/s 16
}

# From nothing to the first frame of a group, at frames spread over a clip.
bench_start() {
    local codec gop options result way
    while read -r codec gop options; do
        # shellcheck disable=SC2086 # options are words
        $quiet -stream_loop -1 -i "$samples/movie2/movie-hello.mp4" -frames:v 600 -an $options -g "$gop" "$work/start.mkv"
        printf '{"schema":"vistter.timeline/1","name":"start","format":{"width":1280,"height":720,"rate":"30"},"duration":570,
            "assets":{"a":"file:%s"},"tracks":[{"clips":[{"kind":"video","asset":"a","start":0,"duration":570}]}]}' \
            "$work/start.mkv" >"$work/start.json"
        rm -rf "$work/start-cache"
        result=$("$build/tests/bench/start_bench" "$work/start.json" "$work/start-cache" "$(rounds 40 5)")
        for way in cold warm; do
            entry start "$codec, GOP $gop, $way: median" "$(jq ".$way" <<<"$result")" null ms null
            entry start "$codec, GOP $gop, $way: 99 %" "$(jq ".${way}_p99" <<<"$result")" null ms null
        done
    done <<CODECS
H.264 30 -c:v libx264 -preset veryfast
H.264 250 -c:v libx264 -preset veryfast
H.265 60 -c:v libx265 -preset ultrafast -x265-params log-level=error
MPEG-2 15 -c:v mpeg2video -b:v 8M
ProRes 1 -c:v prores
CODECS
}

# Planning as the leading coordinator does it: from nothing, and when a twentieth of the nodes is lost at once.
bench_planner() {
    local result nodes channels lost
    # shellcheck disable=SC2046 # numbers
    "$build/tests/bench/planner_bench" $([ "$quick" ] && echo 250 2000 || echo 250 500 1000 2000) | while read -r result; do
        of() { jq "$1" <<<"$result"; }
        nodes=$(of .nodes) channels=$(of .channels) lost=$(of .lost)
        entry planner "$nodes nodes, $channels channels: all" "$(of .scratch_ms)" null "CPU ms" null
        entry planner "$nodes nodes: all, each" "$(of '.scratch_ms / .nodes')" null "CPU ms a node" 1
        entry planner "$nodes nodes: longest tick" "$(of '[.scratch_tick_ms, .again_tick_ms] | max')" null ms 50
        entry planner "$lost of $nodes nodes lost" "$(of .again_ms)" null "CPU ms" null
        entry planner "$nodes nodes: nothing happens" "$(of '.idle_ms_per_s / 10')" null "% of a core" null
    done
}
