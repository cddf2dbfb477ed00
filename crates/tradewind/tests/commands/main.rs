//! The program as it is run: as a process, by its arguments, environment, signals and exit codes.

mod bench;
mod drain;
mod erp;
mod erp_page;
mod feed;
mod init;
mod keys;
mod leaf;
mod mails;
mod operator;
mod pages;
mod payments;
mod persons;
mod rig;
mod routes;
mod settings;
mod shops;
mod webhooks;
