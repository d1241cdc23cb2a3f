-- Optional tracks that are left out while workers do not keep up.

alter type event_kind add value 'optional';
comment on column channel_events.kind is
    'started, timeline: another one from its first frame; revision: it goes on; optional: the same without its optional tracks, or with them again; stopped.';
