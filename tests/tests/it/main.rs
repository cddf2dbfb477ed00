//! The whole product beside real servers: end-to-end tests of what users see, and checks of the repository.
//!
//! One program, because each further one would link the whole product once more: minutes of building, and gigabytes of
//! disk.

mod catalogue;
mod circles;
mod commands;
mod conditions;
mod connectors;
mod contract_docs;
mod demo;
mod dependencies;
mod disk_full;
mod erp;
mod erp_nats;
mod feed;
mod gateways;
mod http_api;
mod keys;
mod lagging_replica;
mod lists;
mod mails;
mod mutated_inputs;
mod nats_users;
mod observability;
mod one_step;
mod other_shops;
mod payments;
mod readers;
mod rejections;
mod requests;
mod retail;
mod saga;
mod settings;
mod shops;
mod short;
mod stock;
mod telemetry;
mod tls;
mod uploads;
mod webhook_receivers;
mod webhooks;
