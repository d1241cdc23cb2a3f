-- A third class of redundancy that costs every frame twice.

alter table channels
    drop constraint channels_redundancy_is_known,
    add constraint channels_redundancy_is_known check (redundancy in ('none', 'cold', 'warm', 'hot'));
comment on column channels.redundancy is
    'What stands by for each group: no worker, one that opens its files when it is asked, one whose decoders follow, or one that makes every frame too.';
