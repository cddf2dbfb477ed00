-- An order as it stands: what each step of the saga looks at and rewrites. Kept small.
create table orders (
    shop text not null,
    id text not null,
    partition bigint not null,
    status text not null,
    version bigint not null,
    -- Lines and charges together, in the minor unit of the currency.
    total bigint not null,
    currency text not null,
    payment_method text not null,
    -- Why it is off; null unless it is.
    reason text,
    -- When it is cancelled if the awaited answer has not come, in ms; null when nothing is awaited in time.
    deadline bigint,
    -- What everything that follows from the request has in common, for what a deadline leads to.
    correlation_id text not null,
    traceparent text not null,
    placed_at bigint not null,
    updated_at bigint not null,
    -- Its events and what caused them, a line of JSON each: [event, ms, cause, id of the cause]. Only ever appended to.
    history text not null,
    primary key (shop, id)
);
create index orders_due on orders (partition, deadline) where deadline is not null;

-- What was ordered and by whom. Written once, when the order is placed. Lines and charges are JSON.
create table order_content (
    shop text not null,
    order_id text not null,
    -- The caller's own order number; null when none was given.
    reference text,
    -- Null for a guest.
    customer_id text,
    country text not null,
    lines text not null,
    charges text not null,
    primary key (shop, order_id)
);
create unique index order_content_reference on order_content (shop, reference)
    where reference is not null;

-- More about why an order is off: words, and the SKUs that there was too little of, as JSON. Written once.
create table order_cancellation (
    shop text not null,
    order_id text not null,
    detail text not null,
    shortages text not null,
    primary key (shop, order_id)
);

-- What a product costs and whether it is sold, as the catalogue last said: a copy.
create table price (
    shop text not null,
    sku text not null,
    minor bigint not null,
    currency text not null,
    active bigint not null,
    primary key (shop, sku)
);
