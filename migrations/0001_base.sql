-- Media, timelines with immutable revisions, channels with their event logs, destinations, plans,
-- nodes, and the lease of the leading coordinator.

create table media (
    sha256     text primary key,
    name       text not null,
    facts      jsonb not null,
    created_at timestamptz not null default clock_timestamp(),
    constraint media_sha256_is_hex check (sha256 ~ '^[0-9a-f]{64}$')
);
comment on table media is 'Files in the media store, named by the SHA-256 of their bytes.';
comment on column media.facts is 'What import found out (engine/media/media.h).';

create table timelines (
    id         bigint generated always as identity primary key,
    name       text not null,
    created_at timestamptz not null default clock_timestamp(),
    constraint timelines_name_unique unique (name),
    constraint timelines_name_is_plain check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$')
);
comment on table timelines is 'Names under which revisions of a timeline are kept.';

create table revisions (
    timeline_id bigint not null references timelines (id) on delete cascade,
    number      bigint not null,
    sha256      text not null,
    bytes       bytea not null,
    created_at  timestamptz not null default clock_timestamp(),
    primary key (timeline_id, number),
    constraint revisions_number_positive check (number > 0),
    constraint revisions_sha256_is_hex check (sha256 ~ '^[0-9a-f]{64}$')
);
comment on table revisions is 'Immutable JSON of timelines, as it was sent.';
create index revisions_by_sha256 on revisions (sha256);

create table channels (
    id         bigint generated always as identity primary key,
    name       text not null,
    width      integer not null,
    height     integer not null,
    rate_num   integer not null,
    rate_den   integer not null,
    epoch_ns   bigint not null,
    last_plan_epoch bigint not null default 0,
    last_at_frame   bigint not null default 0,
    created_at timestamptz not null default clock_timestamp(),
    constraint channels_name_unique unique (name),
    constraint channels_name_is_plain check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    constraint channels_size_is_even check (width between 16 and 8192 and height between 16 and 8192
                                            and width % 2 = 0 and height % 2 = 0),
    constraint channels_rate_positive check (rate_num > 0 and rate_den > 0)
);
comment on table channels is 'Channels and the format of their programme.';
comment on column channels.epoch_ns is 'When frame 0 was due, nanoseconds since 1970-01-01 UTC.';
comment on column channels.last_plan_epoch is 'The highest plan epoch ever used or reserved.';
comment on column channels.last_at_frame is 'at_frame of the newest commit ever.';

create type event_kind as enum ('started', 'stopped', 'revision');

create table channel_events (
    channel_id bigint not null references channels (id) on delete cascade,
    seq        bigint not null,
    at_frame   bigint not null,
    kind       event_kind not null,
    payload    jsonb not null default '{}',
    created_at timestamptz not null default clock_timestamp(),
    primary key (channel_id, seq),
    constraint channel_events_seq_positive check (seq > 0),
    constraint channel_events_frame_not_negative check (at_frame >= 0)
);
comment on table channel_events is
    'The log of each channel: what is on air at a frame is the fold of the events up to it.';
comment on column channel_events.seq is 'Without holes within a channel: taken under its row lock.';

create type destination_kind as enum ('rtmp', 'recording', 'preview');

create table destinations (
    id         bigint generated always as identity primary key,
    channel_id bigint not null references channels (id) on delete cascade,
    name       text not null,
    kind       destination_kind not null,
    url        text not null,
    sealed_key bytea,
    created_at timestamptz not null default clock_timestamp(),
    constraint destinations_name_unique unique (channel_id, name),
    constraint destinations_name_is_plain check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$')
);
comment on table destinations is 'Where a channel goes.';
comment on column destinations.url is 'Without the stream key.';
comment on column destinations.sealed_key is
    'The stream key, AES-256-GCM under the key file outside the database.';

create table plans (
    channel_id   bigint not null references channels (id) on delete cascade,
    plan_epoch   bigint not null,
    at_frame     bigint not null,
    sealed       bytea not null,
    committed_at timestamptz not null default clock_timestamp(),
    primary key (channel_id, plan_epoch),
    constraint plans_epoch_positive check (plan_epoch > 0)
);
comment on table plans is
    'Committed plans; the row is the truth about what switches at which frame. Sealed: holds link keys.';

create table nodes (
    name    text primary key,
    role    text not null,
    facts   jsonb not null,
    seen_at timestamptz not null default clock_timestamp()
);
comment on table nodes is 'Nodes that have joined, and when they were last heard of.';

create table lease (
    name    text primary key,
    holder  text not null,
    epoch   bigint not null,
    expires timestamptz not null
);
comment on table lease is
    'Who leads. The epoch rises with every change of holder (a run of a coordinator); writes check it.';
