-- Live sources: cameras and other streams that channels show.

create table sources (
    id           bigint generated always as identity primary key,
    name         text not null,
    worker       text,
    sealed_input bytea not null,
    created_at   timestamptz not null default clock_timestamp(),
    changed_at   timestamptz not null default clock_timestamp(),
    constraint sources_name_unique unique (name),
    constraint sources_name_is_plain check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$')
);
comment on table sources is 'Live sources, which timelines know by name.';
comment on column sources.worker is
    'The worker that takes it in, since senders call that host; null: any. It need not have joined yet.';
comment on column sources.sealed_input is
    'How it comes, JSON (engine/live/input.h) with its secrets, AES-256-GCM under the key file outside the database.';
comment on column sources.changed_at is 'When it was last saved, whether anything was different or not.';
