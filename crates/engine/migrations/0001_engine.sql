-- How far a partition has come: one row for each input, and one ('log') for the service's own log.
create table engine_position (
    partition bigint not null,
    source text not null,
    sequence bigint not null,
    primary key (partition, source)
);

-- A command that was handled, and what its sender was told. Kept for seven days.
create table engine_answer (
    shop text not null,
    command_id text not null,
    partition bigint not null,
    fingerprint text not null,
    body text not null,
    sequence bigint not null,
    answered_at bigint not null,
    primary key (shop, command_id)
);
create index engine_answer_age on engine_answer (partition, answered_at);

-- An input that waits for an operator. The payload is in hexadecimal.
create table engine_parked (
    id text not null primary key,
    partition bigint not null,
    shop text not null,
    aggregate_id text not null,
    source text not null,
    sequence bigint not null,
    subject text not null,
    payload text not null,
    reason text not null,
    parked_at bigint not null,
    log_sequence bigint not null
);
