-- Coordinators: where the one that leads answers, and which others there are.

alter table lease add column api_url text not null default '';
comment on column lease.api_url is 'Where the leader answers the API; empty: it does not say.';
comment on table lease is
    'Who leads. The epoch rises with every change of holder (a run of a coordinator), and is never below the '
    'milliseconds since 1970: a database that has lost changes of holder uses no epoch again. Writes check it.';

create table coordinators (
    name    text primary key,
    api_url text not null,
    version text not null,
    seen_at timestamptz not null default clock_timestamp()
);
comment on table coordinators is
    'Coordinators, and when they were last here. Each writes its own row, whether it leads or not.';
