//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{
    Args, Parser, Subcommand,
    builder::{NonEmptyStringValueParser, PossibleValue, PossibleValuesParser, TypedValueParser},
};
use events::id::PaymentId;
use lab::{bench, demo, failover, replay};
use node::{
    services::Component,
    services::{SERVICES, Service},
    settings::Settings,
};
use protocol::id::Shop;

use crate::{
    erp::Erp,
    feed::Events,
    gateway::ENVIRONMENT,
    init::{Init, NewConnector},
    integrator::Integrator,
    keys::Keys,
    mails::Mails,
    orders::Orders,
    persons::Persons,
    shops::Shops,
    webhooks::Webhooks,
};

/// What the commands say that start a nats-server of their own.
const NATS_SERVER: &str = "Environment:\n  NATS_SERVER  The nats-server to start, 2.12 or newer \
                           [default: the one on the PATH]";

/// An event-driven commerce backend: sells no unit twice, loses no event, takes no money without
/// an order.
#[derive(Debug, Parser)]
#[command(name = "tradewind", version, about, propagate_version = true, after_help = NATS_SERVER)]
pub(crate) struct Cli {
    /// How the process takes part in the installation.
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make what an installation needs: users and keys for nats-server, and an API key
    Init(Init),
    /// Let somebody read public events at nats-server, and print a program that does
    #[command(subcommand)]
    Integrator(Integrator),
    /// Let an ERP connector send lines to nats-server
    #[command(subcommand)]
    Connector(Connector),
    /// Run services: all of them, or those named
    Serve {
        /// The services
        #[arg(value_parser = component())]
        services: Vec<Component>,
    },
    /// Fold a service's log anew beside its database, and replace its rows; the service may be running
    Rebuild {
        /// The service
        #[arg(value_parser = service())]
        service: &'static Service,
    },
    /// Fold logs into scratch databases and compare every row with the live ones
    Verify {
        /// The service; all when none is named
        #[arg(value_parser = service())]
        service: Option<&'static Service>,
    },
    /// Look at inputs that could not be handled, let them be handled again, or drop them
    #[command(subcommand)]
    Parked(Parked),
    /// Let a partition pass over a message of its log that no version can read
    #[command(subcommand)]
    Log(Log),
    /// Show how far services have read their inputs, or move one position
    #[command(subcommand)]
    Positions(Positions),
    /// Look at payments that do not come to an end without an operator, and settle them
    #[command(subcommand)]
    Payments(Payments),
    /// Erase personal data, and change the master key of the keys that seal it
    #[command(subcommand)]
    Persons(Persons),
    /// Create, show, change, suspend and resume shops
    #[command(subcommand)]
    Shops(Shops),
    /// Add, list, show, rotate and revoke API keys, through a gateway
    #[command(subcommand, after_help = ENVIRONMENT)]
    Keys(Keys),
    /// Manage webhook endpoints and what is delivered to them, and receive deliveries
    #[command(subcommand)]
    Webhooks(Webhooks),
    /// Push files of an ERP through a gateway
    #[command(subcommand)]
    Erp(Erp),
    /// Say which mails a shop sends to the customers of its orders, and look at what became of them
    #[command(subcommand)]
    Mails(Mails),
    /// List and show the orders of a shop
    #[command(subcommand)]
    Orders(Orders),
    /// Read the events of a shop through a gateway
    #[command(subcommand)]
    Events(Events),
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
    /// Kill and stop servers of a cluster while orders come, and measure how long none is settled
    #[command(after_help = NATS_SERVER)]
    Failover(failover::Options),
}

/// What is done with connectors.
#[derive(Debug, Subcommand)]
pub(crate) enum Connector {
    /// Add one, with a key of its own
    Add(NewConnector),
}

/// What is done about parked inputs.
#[derive(Debug, Subcommand)]
pub(crate) enum Parked {
    /// List what is parked
    List {
        /// The service; all when none is named
        #[arg(value_parser = service())]
        service: Option<&'static Service>,
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
    /// Drop a parked input that cannot be handled any more, and handle what waits behind it
    Drop {
        /// The id of the first parked input of the aggregate
        id: String,
        /// Why, for those who read the log later, and for the sender of a command
        #[arg(long)]
        reason: String,
    },
}

/// What is done about the messages of a log.
#[derive(Debug, Subcommand)]
pub(crate) enum Log {
    /// Void a message that is no event; refused for one that can be read
    Void {
        /// The service whose log it is
        #[arg(value_parser = service())]
        service: &'static Service,
        /// The partition
        partition: u32,
        /// The sequence of the message
        sequence: u64,
        /// Why, for those who read the log later
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// What is done about positions.
#[derive(Debug, Subcommand)]
pub(crate) enum Positions {
    /// Show the position in each input
    Show {
        /// The service; all when none is named
        #[arg(value_parser = service())]
        service: Option<&'static Service>,
    },
    /// Read an input anew, after its stream was recreated or restored
    Reset {
        /// The service
        #[arg(value_parser = service())]
        service: &'static Service,
        /// The partition
        partition: u32,
        /// The input: `inbox.live`, `inbox.bulk`, or a service
        source: String,
        /// The last sequence that counts as handled; commands that were handled before are known
        #[arg(long, default_value_t = 0)]
        to: u64,
        /// Why, for those who read the log later
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// What is done about payments.
#[derive(Debug, Subcommand)]
pub(crate) enum Payments {
    /// List the payments with an operation that is stuck
    Stuck {
        /// The shop; all when none is named
        #[arg(long, value_parser = Shop::parse)]
        shop: Option<Shop>,
        /// Those with an operation of which the provider does not say what has become, instead
        #[arg(long)]
        uncertain: bool,
    },
    /// Compare what the provider has done for a shop with our log; fails when something differs
    Reconcile {
        /// The shop
        #[arg(value_parser = Shop::parse)]
        shop: Shop,
        /// How far back
        #[arg(long, default_value = "1d", value_parser = humantime::parse_duration)]
        last: Duration,
    },
    /// Settle the operation of a payment that is uncertain or stuck
    Settle {
        /// The payment
        #[arg(value_parser = PaymentId::parse)]
        payment: PaymentId,
        /// What becomes of the operation
        #[command(flatten)]
        resolution: Resolution,
        /// Why, for those who read the log later
        #[arg(long, value_parser = NonEmptyStringValueParser::new())]
        reason: String,
        /// Who decides this
        #[arg(long, env = "USER", default_value = "unknown")]
        operator: String,
    },
}

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Resolution {
    /// It was done elsewhere, for example in the provider's own user interface
    #[arg(long)]
    pub(crate) done_elsewhere: bool,
    /// It is tried again
    #[arg(long)]
    pub(crate) retry: bool,
    /// It will not be done: a capture counts as refused, what was to be paid back or let go is left
    #[arg(long)]
    pub(crate) give_up: bool,
}

/// What is done about streams.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Streams {
    /// Create what is missing and change what differs
    Apply,
    /// Show what is missing or differs; fails when something does
    Diff,
}

/// What is replayed.
#[derive(Debug, Subcommand)]
pub(crate) enum Replay {
    /// A real retailer's year: day files of the Online Retail data set
    #[command(after_help = NATS_SERVER)]
    Retail(replay::Options),
}

/// Reads the name of a service that has a database.
fn service() -> impl TypedValueParser<Value = &'static Service> {
    let values = SERVICES.iter().map(|it| PossibleValue::new(it.name).help(it.about));
    PossibleValuesParser::new(values).try_map(|name| Service::named(&name).ok_or("no such service"))
}

/// Reads the name of what a process can run.
fn component() -> impl TypedValueParser<Value = Component> {
    let all = Component::all();
    let values = all.iter().map(|it| PossibleValue::new(it.name()).help(it.about()));
    PossibleValuesParser::new(values).try_map(|name| {
        Component::all().into_iter().find(|it| it.name() == name).ok_or("no such service")
    })
}
