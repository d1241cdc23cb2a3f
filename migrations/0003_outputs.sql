-- Further outputs of a channel beside its programme, and the slate of a channel.

create table outputs (
    id         bigint generated always as identity primary key,
    channel_id bigint not null references channels (id) on delete cascade,
    name       text not null,
    width      integer not null,
    height     integer not null,
    tracks     integer not null default 0,
    created_at timestamptz not null default clock_timestamp(),
    constraint outputs_name_unique unique (channel_id, name),
    constraint outputs_name_is_plain check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    constraint outputs_size_is_even check (width between 16 and 8192 and height between 16 and 8192
                                           and width % 2 = 0 and height % 2 = 0),
    constraint outputs_tracks_not_negative check (tracks >= 0)
);
comment on table outputs is
    'Pictures that a channel makes of its timeline beside the programme: other sizes, clean feeds.';
comment on column outputs.tracks is 'Shows the lowest so many tracks; 0: all.';

alter table destinations
    add column output_id bigint references outputs (id) on delete cascade;
comment on column destinations.output_id is 'The output that goes there; null: the programme.';
create index destinations_by_output on destinations (output_id);

alter table channels
    add column slate_timeline text not null default '',
    add column slate_sha256   text not null default '',
    add constraint channels_slate_is_whole check ((slate_timeline = '') = (slate_sha256 = '')),
    add constraint channels_slate_is_hex check (slate_sha256 ~ '^([0-9a-f]{64})?$');
comment on column channels.slate_timeline is
    'Whose first picture and sound an edge shows when the programme is missing; empty: none.';
comment on column channels.slate_sha256 is 'The revision of it.';
