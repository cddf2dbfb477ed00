-- An account, with what is promised to it and what is being charged.
create table ledger_account (
    shop text not null,
    id text not null,
    partition bigint not null,
    version bigint not null,
    balance bigint not null,
    deposits bigint not null,
    deadline bigint,
    charge bigint,
    closed bigint not null,
    correlation_id text not null,
    traceparent text not null,
    primary key (shop, id)
);
create index ledger_account_deadline on ledger_account (partition, deadline)
where deadline is not null;

-- The copy of what a unit costs, from the catalogue.
create table ledger_price (
    shop text not null,
    sku text not null,
    price bigint not null,
    primary key (shop, sku)
);
