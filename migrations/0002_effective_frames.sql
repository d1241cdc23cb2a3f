-- The log says where a change took effect, not only when it was asked for: at_frame is written by the
-- transaction that commits the plan, together with the frame where the timeline's frame 0 stands.

alter type event_kind add value 'timeline';

alter table channel_events rename column created_at to requested_at;
alter table channel_events alter column at_frame drop not null;
comment on column channel_events.at_frame is
    'The first channel frame for which it holds. Null: waits for its plan, or was overtaken by a later event.';
comment on column channel_events.kind is
    'started, timeline: from the first frame of a timeline; revision: another of the same timeline, which goes on.';
comment on table channel_events is
    'The log of each channel: what is on air at frame n is the fold, by seq, of the events with at_frame <= n.';
