//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::{bench, demo, replay, settings::Settings};

/// What the commands say that start a nats-server of their own.
const NATS_SERVER: &str = "Environment:\n  NATS_SERVER  The nats-server to start, 2.12 or newer \
                           [default: the one on the PATH]";

/// An event-driven commerce backend: sells no unit twice, loses no event, takes no money without
/// an order.
#[derive(Debug, Parser)]
#[command(name = "tradewind", version, about, propagate_version = true, after_help = NATS_SERVER)]
pub struct Cli {
    /// How the process takes part in the installation.
    #[command(flatten)]
    pub settings: Settings,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run services: all of them, or those named
    Serve {
        /// The services
        #[arg(value_enum)]
        services: Vec<Service>,
    },
    /// Drop a service's database and fold its log anew; the service must not run
    Rebuild {
        /// The service
        #[arg(value_enum)]
        service: Projected,
    },
    /// Fold logs into scratch databases and compare every row with the live ones
    Verify {
        /// The service; all when none is named
        #[arg(value_enum)]
        service: Option<Projected>,
    },
    /// Look at inputs that could not be handled, and let them be handled again
    #[command(subcommand)]
    Parked(Parked),
    /// Compare the streams with their definitions, or change them
    #[command(subcommand)]
    Streams(Streams),
    /// Replay real trade
    #[command(subcommand, after_help = NATS_SERVER)]
    Replay(Replay),
    /// Run a day of trade on this machine and check every invariant
    #[command(after_help = NATS_SERVER)]
    Demo(demo::Options),
    /// Measure this machine: orders, stock lines, rebuild, and the limit of its disk
    #[command(after_help = NATS_SERVER)]
    Bench(bench::Options),
}

/// A service that can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Service {
    /// Products and prices
    Catalog,
    /// Stock
    Inventory,
    /// Orders: the saga
    Order,
    /// Payments
    Payment,
    /// The HTTP API
    Gateway,
}

/// A service with a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Projected {
    /// Products and prices
    Catalog,
    /// Stock
    Inventory,
    /// Orders
    Order,
    /// Payments
    Payment,
}

/// What is done about parked inputs.
#[derive(Debug, Subcommand)]
pub enum Parked {
    /// List what is parked
    List {
        /// The service; all when none is named
        #[arg(value_enum)]
        service: Option<Projected>,
    },
    /// Show one parked input, with its message as JSON
    Show {
        /// Its id
        id: String,
    },
    /// Handle what is parked for an aggregate again, in order
    Redrive {
        /// The id of the first parked input of the aggregate
        id: String,
        /// Its message as it should have been, as JSON (edit the `message` of `parked show`)
        #[arg(long, value_name = "FILE")]
        edited: Option<PathBuf>,
    },
}

/// What is done about streams.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Streams {
    /// Create what is missing and change what differs
    Apply,
    /// Show what is missing or differs; fails when something does
    Diff,
}

/// What is replayed.
#[derive(Debug, Subcommand)]
pub enum Replay {
    /// A real retailer's year: day files of the Online Retail data set
    #[command(after_help = NATS_SERVER)]
    Retail(replay::Options),
}
