-- A row is a product that the catalogue has, sold or not: the SKUs that an ERP may count.
create table product (
    shop text not null,
    -- The stock keeping unit; case matters.
    sku text not null,
    primary key (shop, sku)
);

-- A row is the stock of a SKU at a location. The first count or adjustment brings it into being.
create table stock (
    shop text not null,
    sku text not null,
    location text not null,
    -- The units on hand, as the ERP tells it; below 0 when it took more than there was.
    on_hand bigint not null,
    -- The units held for orders that are not yet paid for.
    held bigint not null,
    -- The units that belong to orders.
    allocated bigint not null,
    -- Counts what the ERP changed and what fell short, from 1; not what orders hold.
    version bigint not null,
    -- What each connector last said, as JSON by connector: {"counted": 1, "adjusted": 2}, its
    -- newest sequence of each kind.
    connectors text not null,
    primary key (shop, sku, location)
);

-- A row is a stock line of an ERP that had its effect. Kept for good: the same line never has
-- another one.
create table document (
    shop text not null,
    connector text not null,
    -- The line's id in the connector's system.
    id text not null,
    sku text not null,
    location text not null,
    -- The connector's own ascending number.
    sequence bigint not null,
    -- The units counted; null for an adjustment.
    counted bigint,
    -- The units added; null for a count.
    delta bigint,
    primary key (shop, connector, id)
);

-- What a late count must add: the adjustments of its connector that are newer. By sequence, not by
-- SKU: so new ones are appended, and a count that is a little late finds the few at the end.
create index document_adjusted on document (shop, connector, sequence) where delta is not null;

-- A row is what the stock did for an order.
create table reservation (
    shop text not null,
    order_id text not null,
    -- held, refused, allocated, lost, expired or released.
    status text not null,
    -- Counts its events, from 1.
    version bigint not null,
    -- What is held, allocated or was, JSON: [[sku, location, units]], by SKU; written once.
    lines text not null,
    -- When the hold runs out, in milliseconds since 1970; null when nothing is held.
    deadline bigint,
    -- The shop's partition.
    partition bigint not null,
    -- The chain of the request that began it goes on when the hold runs out.
    correlation_id text not null,
    traceparent text not null,
    primary key (shop, order_id)
);

create index reservation_deadline on reservation (partition, deadline) where deadline is not null;

-- A row is a shop that held stock for an order.
create table shop (
    shop text not null primary key,
    -- How many orders it ever held stock for.
    orders_held bigint not null
);

-- A row says that an order has units of a stock, or once had: its reservation tells which. Written
-- once; read when an ERP goes below what is promised.
create table promise (
    shop text not null,
    -- Counts every 1,024 orders that the shop held stock for, from 0.
    block bigint not null,
    sku text not null,
    location text not null,
    order_id text not null
);

-- By block before SKU, so that what is written lies together: by SKU alone, every line of an order
-- would write another page.
create index promise_block on promise (shop, block, sku);
