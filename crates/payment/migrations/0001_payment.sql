-- A row is the payment of an order, as the last event about it left it.
create table payment (
    shop text not null,
    -- The order that is paid for.
    order_id text not null,
    -- The partition of the shop.
    partition bigint not null,
    -- Where the payment stands, for example `capture_pending`.
    status text not null,
    -- Counts its events, from 1.
    version bigint not null,
    -- What the order owes, in the minor unit of the currency; null when the payment never began.
    amount bigint,
    -- An ISO 4217 code; null when the payment never began.
    currency text,
    -- The payment provider's token; null when the payment never began.
    payment_method text,
    -- The provider's name for the authorisation; null before it.
    provider_reference text,
    -- What was taken and what was paid back, in the minor unit of the currency.
    captured bigint not null,
    refunded bigint not null,
    -- 1 when the order was cancelled while the provider was being asked, otherwise 0.
    cancel_requested bigint not null,
    -- The operation whose outcome is not known yet, its amount, and what it continues; null when
    -- there is none.
    pending_operation text,
    pending_amount bigint,
    correlation_id text,
    traceparent text,
    primary key (shop, order_id)
);

-- A restart takes up what is pending. It is few rows at any time, however long the history.
create index payment_pending on payment (partition) where pending_operation is not null;
