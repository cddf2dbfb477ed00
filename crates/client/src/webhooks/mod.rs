//! Receiving webhooks: who sent it, whether it came before, and whether anything is missing.
//!
//! ```
//! use client::webhooks::{Arrival, SequenceCheck, Verifier};
//! # fn receive(headers: &reqwest::header::HeaderMap, body: &[u8], check: &mut SequenceCheck)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let verifier = Verifier::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?;
//! let delivery = verifier.verify(headers, body)?;
//! match check.record(delivery.meta.endpoint_seq) {
//!     Arrival::Duplicate => {} // answer 204, and do nothing
//!     Arrival::Next | Arrival::Late => { /* handle it */ }
//!     Arrival::Ahead => { /* handle it; check.missing() names what has not come yet */ }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - `verify`: [`Verifier`], [`Delivery`];
//! - `sequence`: [`SequenceCheck`].

mod sequence;
mod verify;

pub use self::{
    sequence::{Arrival, SequenceCheck},
    verify::{Aggregate, Delivery, Meta, SecretError, TOLERANCE, Verifier, VerifyError},
};
