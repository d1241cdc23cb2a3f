alter table nodes add column draining boolean not null default false;
comment on column nodes.draining is 'Gets no work: what it has goes to others (a worker before it is stopped).';
