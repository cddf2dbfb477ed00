//! A client of the gateway's HTTP API, for one shop.
//!
//! ```no_run
//! # async fn order() -> Result<(), client::Error> {
//! use std::time::Duration;
//!
//! use client::{Client, NewOrder, OrderLine};
//! use events::{http::OrderView, shop::Settings};
//!
//! let client = Client::new("http://127.0.0.1:8080", "change-me", "acme")?;
//! client.create_shop(&Settings::default()).await?;
//! let line = OrderLine { sku: "MUG".to_owned(), quantity: 2, unit_price: None };
//! let order = NewOrder { lines: vec![line], ..NewOrder::in_currency("GBP") };
//! let answer = client.place(&order, "checkout-17", Some(Duration::from_secs(10))).await?;
//! let placed: OrderView = answer.read()?;
//! # Ok(())
//! # }
//! ```
//!
//! A request is sent again with exponential back-off while the gateway is out of reach, overloaded
//! or too slow (429, 502, 503, 504, a timeout). That is safe: what changes something carries an
//! idempotency key, or documents with ids of their own, and has one effect however often it is sent.
//! What else the gateway refuses is an [`Error::Problem`], with the code of docs/http.md.
//!
//! - `client`: [`Client`], one function for each route, and sending;
//! - `tls`: whose certificates are trusted; `request`: what is sent; `answer`: what comes back; `error`: what can fail;
//! - [`upload`]: sending files of any length;
//! - [`feed`]: reading all events of the shop, in order and without gaps;
//! - [`webhooks`]: receiving what the services send by themselves.

mod answer;
mod client;
mod error;
pub mod feed;
mod request;
mod tls;
pub mod upload;
pub mod webhooks;

pub use self::{
    answer::{PushResult, Response, Totals},
    client::Client,
    error::{Error, FieldError, Problem},
    request::{Charge, NewOrder, OrderLine},
};
