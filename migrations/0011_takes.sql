-- What people have put on the live tracks of channels.

create table takes (
    channel_id bigint not null references channels (id) on delete cascade,
    sequence   bigint not null,
    at_frame   bigint not null,
    track      text not null,
    take       json not null,
    at         timestamptz not null default clock_timestamp(),
    primary key (channel_id, sequence)
);
comment on table takes is 'Each in effect from its frame on, until the next of its track.';
comment on column takes.sequence is 'Rising per channel, in the order in which the leader has accepted them.';
comment on column takes.at_frame is 'Of the channel.';
comment on column takes.at is 'When it was written, which is later where the database was away.';
