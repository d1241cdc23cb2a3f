alter table channels
    add column redundancy text not null default 'warm',
    add constraint channels_redundancy_is_known check (redundancy in ('none', 'cold', 'warm'));
comment on column channels.redundancy is
    'What stands by for each group: no worker, one that opens its files when it is asked, one whose decoders follow.';
