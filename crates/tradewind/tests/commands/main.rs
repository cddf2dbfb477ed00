//! The program as it is run: as a process, by its arguments, environment, signals and exit codes.

mod bench;
mod creds;
mod drain;
mod erp;
mod failures;
mod feed;
mod https;
mod init;
mod integrators;
mod keys;
mod leaf;
mod mails;
mod operator;
mod orders;
mod outages;
mod page;
mod pages;
mod payments;
mod persons;
mod rig;
mod routes;
mod settings;
mod shops;
mod start;
mod webhooks;
