//! The orders of a shop, through a gateway.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use client::Client;
use events::{
    http::OrderSummary,
    id::{CustomerId, OrderId, Reference, Sku},
    money::Money,
};
use node::{say, settings::Settings};
use protocol::time::Timestamp;
use serde::Deserialize;

use crate::gateway::{ENVIRONMENT, ShopOptions, print};

/// The most orders that are asked for at once.
const PAGE_LENGTH: u32 = 1_000;

/// What is done with orders.
#[derive(Debug, Subcommand)]
pub(crate) enum Orders {
    /// List the orders of a shop that match all filters, the newest first
    #[command(after_help = ENVIRONMENT)]
    List(Box<List>),
    /// Show an order
    #[command(after_help = ENVIRONMENT)]
    Get {
        #[command(flatten)]
        at: ShopOptions,
        /// Its id
        #[arg(value_parser = OrderId::parse)]
        id: OrderId,
    },
}

/// Which orders are listed.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    at: ShopOptions,
    #[command(flatten)]
    filter: Filter,
    /// The oldest first
    #[arg(long)]
    oldest_first: bool,
    /// The most orders
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// One order a line, as JSON
    #[arg(long)]
    ndjson: bool,
}

/// What orders are looked for by.
#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// Their status: placed, confirmed, completed, cancelled
    #[arg(long)]
    status: Option<String>,
    /// What is paid: pending, `action_required`, authorized, paid, `partially_refunded`, refunded, failed
    #[arg(long)]
    payment_status: Option<String>,
    /// What has shipped: unfulfilled, partial, fulfilled, `partially_returned`, returned
    #[arg(long)]
    fulfilment_status: Option<String>,
    /// Who orders
    #[arg(long, value_parser = CustomerId::parse)]
    customer_id: Option<CustomerId>,
    /// A line is of it
    #[arg(long, value_parser = Sku::parse)]
    sku: Option<Sku>,
    /// The caller's own order number
    #[arg(long, value_parser = Reference::parse)]
    reference: Option<Reference>,
    /// The number or the reference, or a part of the reference
    #[arg(long, value_name = "TEXT")]
    q: Option<String>,
    /// Only those that are on hold
    #[arg(long)]
    on_hold: bool,
    /// Placed at this time (RFC 3339) or later
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse_rfc3339)]
    placed_from: Option<Timestamp>,
    /// Placed before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse_rfc3339)]
    placed_until: Option<Timestamp>,
}

impl Filter {
    /// The parameters of the request.
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let Self { status, payment_status, fulfilment_status, customer_id, sku, .. } = self;
        let given = [
            ("status", status.clone()),
            ("payment_status", payment_status.clone()),
            ("fulfilment_status", fulfilment_status.clone()),
            ("customer_id", customer_id.as_ref().map(CustomerId::to_string)),
            ("sku", sku.as_ref().map(Sku::to_string)),
            ("reference", self.reference.as_ref().map(Reference::to_string)),
            ("q", self.q.clone()),
            ("on_hold", self.on_hold.then(|| "true".to_owned())),
            ("placed_from", self.placed_from.map(|time| time.to_string())),
            ("placed_until", self.placed_until.map(|time| time.to_string())),
        ];
        given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// A page of orders.
#[derive(Debug, Deserialize)]
struct Page {
    orders: Vec<OrderSummary>,
    next: Option<String>,
}

/// Does it.
pub(crate) async fn run(settings: &Settings, what: Orders) -> Result<()> {
    match what {
        Orders::List(what) => list(&what.at.client(settings)?, &what).await,
        Orders::Get { at, id } => match at.client(settings)?.order(id).await? {
            Some(order) => print(&serde_json::to_value(order)?),
            None => bail!("the shop {} has no order {id}", at.shop),
        },
    }
}

async fn list(api: &Client, what: &List) -> Result<()> {
    let mut parameters = what.filter.parameters();
    if what.oldest_first {
        parameters.push(("sort", "oldest".to_owned()));
    }
    if !what.ndjson {
        print_head();
    }
    let (mut left, mut after) = (what.limit, None);
    while left > 0 {
        let limit = left.min(PAGE_LENGTH).to_string();
        let mut page: Vec<_> = parameters.iter().map(|(name, it)| (*name, it.as_str())).collect();
        page.push(("limit", &limit));
        page.extend(after.as_deref().map(|after| ("after", after)));
        let Page { orders, next } = api.query("orders", &page).await?;
        for order in &orders {
            if what.ndjson {
                say!("{}", serde_json::to_string(order)?);
            } else {
                print_line(order);
            }
        }
        left = left.saturating_sub(orders.len() as u32);
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    Ok(())
}

fn print_head() {
    say!(
        "{:>8}  {:<36}  {:<24}  {:<9}  {:<18}  {:<18}  {:>16}  {:<12}  {}",
        "NUMBER",
        "ID",
        "PLACED AT",
        "STATUS",
        "PAYMENT",
        "FULFILMENT",
        "TOTAL",
        "CUSTOMER",
        "REFERENCE"
    );
}

fn print_line(order: &OrderSummary) {
    let status = if order.on_hold { "on hold".to_owned() } else { order.status.to_string() };
    let total = Money { minor: order.total, currency: order.currency }.to_string();
    let customer = order.customer_id.as_ref().map_or("-", CustomerId::as_str);
    let reference = order.reference.as_ref().map_or("-", Reference::as_str);
    say!(
        "{:>8}  {}  {:<24}  {:<9}  {:<18}  {:<18}  {:>16}  {:<12}  {}",
        order.number,
        order.id,
        order.placed_at.to_string(),
        status,
        order.payment_status,
        order.fulfilment_status,
        total,
        customer,
        reference
    );
}
