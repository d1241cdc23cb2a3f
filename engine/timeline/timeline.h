// Timelines: JSON -> immutable, validated revision -> what each track shows at frame n.
//
// The JSON's shape is proto/timeline.schema.json; this parser is the authority on what is accepted
// and a test holds both together. Times in a timeline are whole frames of its own rate, or rational
// seconds written "3/2s" or "12s"; never floating-point seconds, but for what is farm time: a
// camera's delay and hold, kept in whole nanoseconds.
//
// Purity: evaluation uses integers, and doubles with + - * / and sqrt only (exact by IEEE 754, no
// contraction), so every machine gets the same bits. No libm transcendental is called.
// Thread: a revision is immutable and may be used by any thread; it is reference counted.
#pragma once

#include "engine/base/diagnostic.h"
#include "engine/base/rate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Limits; beyond them a timeline is refused with the path of the offender.
#define TIMELINE_BYTES_MAX     (32 << 20) // of JSON; its values are counted before it is unpacked
#define TIMELINE_VALUES_MAX    4000000    // an array counts as 4 and an object as 8, as in memory
#define TIMELINE_DEPTH_MAX     32         // of JSON
#define TIMELINE_TRACKS_MAX    64
#define TIMELINE_CLIPS_MAX     10000  // in a timeline with all that it nests
#define TIMELINE_KEYFRAMES_MAX 100000 // likewise
#define TIMELINE_NESTING_MAX   8
#define TIMELINE_NESTED_MAX    256  // different timelines nested in one
#define TIMELINE_SOURCES_MAX   64   // different live sources, those of nested timelines counted
#define TIMELINE_SOURCE_BYTES  64   // of a source's name
#define TIMELINE_LAYERS_MAX    4096 // at one instant, those of nested timelines counted
#define TIMELINE_FRAMES_MAX    1000000000 // of any time in a timeline

enum clip_kind {
    CLIP_VIDEO,
    CLIP_IMAGE,
    CLIP_SEQUENCE, // numbered pictures, as one asset that lists them
    CLIP_TEXT,
    CLIP_SHAPE,
    CLIP_PATTERN, // test pictures with tone
    CLIP_AUDIO,
    CLIP_TIMELINE, // nested
    CLIP_ADJUST,   // changes everything beneath it
    CLIP_CAMERA,   // a live source, at the channel's time whatever the timeline's
};

enum blend_mode { BLEND_NORMAL, BLEND_MULTIPLY, BLEND_SCREEN, BLEND_ADD };

// Natural size; inside; fill and crop; stretch.
enum fit { FIT_NONE, FIT_CONTAIN, FIT_COVER, FIT_FILL };

// At share t of the time from one keyframe to the next, the value has gone this share of its way:
// linear t; hold 0; in t^3; out 1 - (1 - t)^3; in-out 3t^2 - 2t^3; bezier: the curve's y where its
// x is t. Values that overshoot their range are clamped to it.
enum easing_kind {
    EASING_LINEAR,
    EASING_HOLD,
    EASING_IN,
    EASING_OUT,
    EASING_IN_OUT,
    EASING_BEZIER
};

struct easing {
    enum easing_kind kind;
    double x1, y1, x2, y2; // EASING_BEZIER: as CSS cubic-bezier
};

// One keyframe: value(s) reached at clip-local position `at` (timeline frames), and how the way to
// the next one is eased.
struct keyframe {
    struct rational at;
    double value[2];
    struct easing easing;
};

// A property: constant when count is 1 (its `at` is then ignored).
struct property {
    size_t count;
    struct keyframe *keys;
};

struct colour {
    uint8_t red, green, blue, alpha; // sRGB/BT.709 code values, not premultiplied
};

// Pixels of the timeline's format, or of the output in a placement. Nothing is drawn when the
// colour's alpha is 0.
struct shadow {
    double x, y; // where it stands from what casts it, whatever that one's rotation
    double blur; // two standard deviations, as in CSS
    struct colour colour;
};

// TEXT_LEFT is where a line starts, TEXT_RIGHT where it ends: the other way round in lines of
// Arabic or Hebrew.
enum text_align { TEXT_LEFT, TEXT_CENTRE, TEXT_RIGHT };
// Crawl: right to left, and left to right when the text starts in Arabic or Hebrew; roll: bottom to
// top. Both start outside of the box, and again when they have left it.
enum text_motion { TEXT_STILL, TEXT_CRAWL, TEXT_ROLL };

struct text_style {
    char *text;  // UTF-8, plain; `{{name}}` fields are replaced from the log
    char *font;  // Pango description without size: "Noto Sans Bold"
    double size; // pixels of the timeline's format, > 0
    struct colour colour;
    double box_width, box_height; // 0: as large as the text; text wraps at box_width
    enum text_align align;
    double line_spacing; // 1 = the font's own
    double outline;      // pixels
    struct colour outline_colour;
    struct shadow shadow;
    struct colour background; // drawn when alpha > 0
    double padding, background_radius;
    enum text_motion motion;
    double speed; // pixels a second, for crawl and roll
};

enum shape_kind { SHAPE_RECTANGLE, SHAPE_ELLIPSE, SHAPE_POLYGON };
struct shape_style {
    enum shape_kind kind;
    double width, height, radius; // pixels
    struct colour fill, fill_to;  // fill_to: vertical gradient when `gradient`
    bool gradient;
    double stroke;
    struct colour stroke_colour;
    size_t point_count; // polygon: x0 y0 x1 y1 ...
    double *points;
};

enum pattern_kind {
    PATTERN_BARS,
    PATTERN_RAMP,
    PATTERN_GRID,
    PATTERN_COLOUR,
    PATTERN_COUNTER,
    PATTERN_FLASH
};
struct pattern_style {
    enum pattern_kind kind;
    struct colour colour;
    double tone_hz, tone_db; // 0 Hz: silent. PATTERN_FLASH: a white frame with a beep each second
};

// What to show when a clip's asset is missing or broken, or its live source is not there.
enum fallback_kind { FALLBACK_TRANSPARENT, FALLBACK_COLOUR, FALLBACK_ASSET };
struct fallback {
    enum fallback_kind kind;
    struct colour colour;
    int asset; // index into timeline.assets (an image)
};

// How one clip gives way to the next on its track; sounds dissolve in all of them, at equal power.
enum transition_kind {
    TRANSITION_DISSOLVE,
    TRANSITION_ADD,   // the first goes only once the second is there in full, added up
    TRANSITION_DIP,   // to a colour, and from it
    TRANSITION_WIPE,  // along an edge: engine/compose/wipe.h
    TRANSITION_LUMA,  // the same, by the luma of an image: black turns first
    TRANSITION_SLIDE, // the second comes in over the first
    TRANSITION_PUSH,  // and pushes it out
    TRANSITION_ZOOM   // the second grows out of the middle
};
// In the order of the names in parse_transition.c.
enum wipe {
    WIPE_LEFT_TO_RIGHT,
    WIPE_TOP_TO_BOTTOM,
    WIPE_BOX_TOP_LEFT,
    WIPE_BOX_TOP_RIGHT,
    WIPE_BOX_BOTTOM_RIGHT,
    WIPE_BOX_BOTTOM_LEFT,
    WIPE_FOUR_BOXES,
    WIPE_BARN_DOORS_VERTICAL,
    WIPE_BARN_DOORS_HORIZONTAL,
    WIPE_BOX_TOP,
    WIPE_BOX_RIGHT,
    WIPE_BOX_BOTTOM,
    WIPE_BOX_LEFT,
    WIPE_DIAGONAL_TOP_LEFT,
    WIPE_DIAGONAL_TOP_RIGHT,
    WIPE_BOW_TIE_VERTICAL,
    WIPE_BOW_TIE_HORIZONTAL,
    WIPE_BARN_DOORS_BOTTOM_LEFT,
    WIPE_BARN_DOORS_TOP_LEFT,
    WIPE_VEE_DOWN,
    WIPE_VEE_LEFT,
    WIPE_VEE_UP,
    WIPE_VEE_RIGHT,
    WIPE_RECTANGLE,
    WIPE_DIAMOND,
    WIPE_CIRCLE,
    WIPE_ELLIPSE_HORIZONTAL,
    WIPE_ELLIPSE_VERTICAL,
    WIPE_CLOCK_12,
    WIPE_CLOCK_3,
    WIPE_CLOCK_6,
    WIPE_CLOCK_9,
    WIPE_PINWHEEL_VERTICAL,
    WIPE_PINWHEEL_HORIZONTAL,
    WIPE_PINWHEEL_FOUR,
    WIPE_FAN_TOP,
    WIPE_FAN_RIGHT,
    WIPE_COUNT
};
enum direction { DIRECTION_LEFT, DIRECTION_RIGHT, DIRECTION_UP, DIRECTION_DOWN };
struct transition {
    enum transition_kind kind;
    enum wipe wipe;
    bool reverse;             // wipe, luma: what would turn last turns first
    double softness, border;  // of the edge, shares of its way
    struct colour colour;     // of the dip, or of the border
    enum direction direction; // slide, push: where the second moves to
    int asset;                // luma: index into timeline.assets; -1: none
};

struct clip {
    enum clip_kind kind;
    char *id;                  // unique in the timeline; when not given, its place: "2/0"
    int64_t start, duration;   // timeline frames; duration > 0
    int64_t transition;        // from the clip before it: length in frames, 0 = cut. The two clips
                               // overlap by exactly this much and have the same blend mode
    struct transition *how;    // NULL: a dissolve
    int asset;                 // index into timeline.assets; -1 where the kind has none
    struct rational in;        // seconds into the source, >= 0
    struct rational speed;     // source seconds per second, > 0
    bool loop;                 // start again when the source ends before the clip does
    const char *source;        // CLIP_CAMERA: its name, one of the timeline's
    int64_t delay_ns, hold_ns; // CLIP_CAMERA: see engine/live/camera.h
    enum fit fit;
    struct property position;         // of the anchor, pixels of the timeline's format
    struct property size;             // width height in pixels; 0 0 = by `fit`
    struct property anchor;           // 0..1 of the clip's own size; default 0.5 0.5
    struct property rotation;         // degrees clockwise
    struct property crop_lt, crop_rb; // fractions of the source cut off: left top, right bottom
    struct property radius;           // corner radius in pixels
    struct property border;           // width in pixels, around the picture
    struct colour border_colour;
    struct shadow shadow;                             // of the picture with its border
    struct property opacity;                          // 0..1
    struct property gain_db;                          // sound, -96 (silent) .. +24
    struct property pan;                              // -1 left .. 1 right
    struct property brightness, contrast, saturation; // adjust: 0, 1, 1 = no change
    enum blend_mode blend;
    int64_t fade_in, fade_out;             // picture, frames
    int64_t sound_fade_in, sound_fade_out; // frames
    bool muted;
    struct text_style *text;       // CLIP_TEXT
    struct shape_style *shape;     // CLIP_SHAPE
    struct pattern_style *pattern; // CLIP_PATTERN
    struct timeline *nested;       // CLIP_TIMELINE, resolved
    struct fallback fallback;
};

// A live track's clips have no times: they start with duration TIMELINE_FRAMES_MAX at 0, and which
// of them shows from when on is in the channel's log (takes.h). They all have the same blend mode,
// and are all pictures or all sounds.
struct track {
    char *name;
    bool hidden, muted, live;
    bool optional; // its picture is left out where a plan says so (timeline_leave_optional)
    size_t clip_count;
    struct clip *clips; // by start; of a live track as in the document
};

// An asset as the timeline names it: "sha256:<64 hex>" in the farm, or a path for offline renders.
struct asset_name {
    char *name; // the key in "assets"
    char *uri;
};

struct timeline {
    // -- constant after parse
    char *name;
    int width, height; // even
    struct rate rate;
    struct colour background;
    int64_t duration; // frames, > 0: given, or the end of the last clip
    bool loop;
    double loudness_lufs; // what each asset's sound is brought to, -40 .. -5; 0: as it is
    size_t asset_count;
    struct asset_name *assets;
    size_t font_count;
    char **fonts; // asset URIs of font files, the only ones that text may use
    size_t source_count;
    char **sources; // live ones, of nested timelines too; each once
    size_t track_count;
    struct track *tracks; // bottom to top
    uint8_t sha256[32];   // of the bytes parsed
    // -- private
    _Atomic int references;
};

// Gives the bytes of the nested timeline that `uri` names (malloc, freed by the parser), or a
// negative errno with a diagnostic.
typedef int timeline_load_fn(void *opaque, const char *uri, char **ret_bytes, size_t *ret_size,
                             struct diagnostic *reterr);

// Parses and validates. Every error names the place: "tracks[2].clips[0].duration". Nested
// timelines are loaded by `load` (NULL: nested clips are refused); cycles and depth are checked.
// -EINVAL refused input, -E2BIG over a limit, -ENOMEM.
int timeline_parse(const char *bytes, size_t size, timeline_load_fn *load, void *opaque,
                   struct timeline **ret, struct diagnostic *reterr);
struct timeline *timeline_ref(const struct timeline *timeline);
void timeline_unref(struct timeline **timeline); // accepts NULL inside

// Whether a track of [track_from, track_to) is optional, or one that a clip of it nests is.
bool timeline_has_optional(const struct timeline *timeline, int track_from, int track_to);
// Hides all optional tracks, nested ones too: their sound stays. Before anybody else has it.
void timeline_leave_optional(struct timeline *timeline);

// Letters, digits, '-', '_' and '.', at most 64, no '.' at the start: a folder can bear it.
bool timeline_source_valid(const char *name);
// The live sources that a timeline names, in any of its tracks or of those that it nests, each
// once: the first `max` of them, valid as long as the timeline is. Returns how many there are, at
// most TIMELINE_SOURCES_MAX.
size_t timeline_sources(const struct timeline *timeline, const char **names, size_t max);
bool timeline_has_camera(const struct timeline *timeline);

// A problem with a clip's material as a person knows it: the path is the clip's place,
// "tracks[2].clips[0]", or its id where it was given one; the text begins with the asset's name,
// and does not name files of a store.
void clip_problem(const struct timeline *timeline, const struct clip *clip,
                  const struct diagnostic *problem, struct diagnostic *ret);

// Where and how large a clip's picture stands, in pixels of the *output*.
struct placement {
    double x, y;                                         // of the anchor
    double width, height;                                // before rotation; 0 0: by `fit`
    double anchor_x, anchor_y;                           // 0..1
    double rotation;                                     // degrees clockwise
    double crop_left, crop_top, crop_right, crop_bottom; // fractions of the source
    double radius;                                       // pixels
    enum fit fit;
    double border; // width in pixels, outside of the picture's edge; colour's alpha 0: none
    struct colour border_colour;
    struct shadow shadow;
};

// One clip at one instant. All is sampled where the output frame starts: a fade-in of 15 frames has
// its clip's frame k at k/15, a fade-out has the frame k before the end at k/15, and frame k of a
// transition of 30 has k/30 of it over. An adjust clip's opacity is its strength.
struct clip_instant {
    const struct clip *clip;
    int64_t local_frame;         // timeline frames since the clip's start (floor)
    struct rational source_time; // seconds in the source, in-point and speed applied, loop not
    struct placement placement;
    int opacity; // 0..255, fades applied
    double brightness, contrast, saturation;
};

// What one track shows at one output frame.
struct layer {
    struct clip_instant now;  // now.clip == NULL: nothing
    struct clip_instant from; // from.clip != NULL: a transition is under way
    int mix;                  // 0..255: share of it that is over, of a dissolve
    int share;                // the same in 1/65536, of the others
};

// One clip's sound over one output frame.
struct layer_sound {
    const struct clip *clip;
    struct rational source_time; // seconds in the source at the frame's first sample
    double gain_start, gain_end; // linear factors at the first sample and just after the last
    double pan_start, pan_end;
};

// Fills `layers[track_count]` for output frame `n` (counted from the timeline's start, n >= 0) at
// an output of `width` x `height`. Positions and sizes scale from the timeline's format to the
// output. Past the end of a timeline that does not loop all layers are empty.
void timeline_evaluate(const struct timeline *timeline, struct rate output_rate, int width,
                       int height, int64_t n, struct layer *layers);
// The same at a position in seconds: how nested timelines are evaluated, at the nested clip's
// source_time. `loop`: start again at the end (the timeline's own loop or the clip's). `live`: what
// its live tracks show, which neither loop nor end; NULL: nothing.
struct takes;
void timeline_evaluate_at(const struct timeline *timeline, const struct takes *live,
                          struct rational seconds, bool loop, int width, int height,
                          struct layer *layers);

// Sounds audible in output frame `n` on tracks [track_from, track_to), at most `max`; returns how
// many. A dissolve gives two, with equal-power gains. A nested timeline is one sound, of its clip;
// the mixer recurses with timeline_evaluate_sound_at. Hidden tracks sound, muted ones do not. Where
// a live track is cut from one clip to another both sound during the first frame, so that none
// clicks.
size_t timeline_evaluate_sound(const struct timeline *timeline, const struct takes *live,
                               struct rate output_rate, int64_t n, int track_from, int track_to,
                               struct layer_sound *sounds, size_t max);
// The same for sound from `seconds` on for `length` seconds (a frame's length times the speed).
size_t timeline_evaluate_sound_at(const struct timeline *timeline, const struct takes *live,
                                  struct rational seconds, struct rational length, bool loop,
                                  int track_from, int track_to, struct layer_sound *sounds,
                                  size_t max);

// 10^(db/20) by pure arithmetic; <= -96 gives 0.
double decibel_to_gain(double db);
// sin and cos of degrees by pure arithmetic (error below 1e-12).
void degrees_sin_cos(double degrees, double *ret_sin, double *ret_cos);
