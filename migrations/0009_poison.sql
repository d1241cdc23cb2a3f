-- Files that have ended workers.

create table media_crashes (
    node       text not null,
    id         bigint not null,
    sha256     text not null,
    picture    bigint not null,
    signal     integer not null,
    at         timestamptz not null default clock_timestamp(),
    cleared_at timestamptz,
    primary key (node, id),
    constraint media_crashes_sha256_is_hex check (sha256 ~ '^[0-9a-f]{64}$')
);
comment on table media_crashes is
    'Workers'' processes that have ended while they decoded a file; the second that nobody has cleared poisons it.';
comment on column media_crashes.id is 'The worker''s own: when it was, in nanoseconds since 1970.';
comment on column media_crashes.picture is 'Which it was at, from 0; -1: it was opening the file.';
comment on column media_crashes.at is 'When a coordinator heard of it.';
create index media_crashes_open on media_crashes (sha256) where cleared_at is null;
