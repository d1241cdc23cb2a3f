-- Two edges for a channel, and the second address of a platform.

alter table channels
    add column edges integer not null default 2,
    add constraint channels_edges_one_or_two check (edges between 1 and 2);
comment on column channels.edges is
    'How many edges make each output, where there are so many: with two, either may die.';

alter table destinations add column backup_url text not null default '';
comment on column destinations.backup_url is
    'The platform''s second address, without the stream key; empty: it has none.';
