-- A row is a product of a shop, as the last event about it left it.
create table product (
    shop text not null,
    -- The stock keeping unit; case matters.
    sku text not null,
    -- The title, for people.
    title text not null,
    -- The price of one unit, in the minor unit of the currency.
    price bigint not null,
    -- An ISO 4217 code.
    currency text not null,
    -- 1 when it is sold, 0 when it is not.
    active bigint not null,
    -- Counts its events, from 1.
    version bigint not null,
    primary key (shop, sku)
);
