use client::webhooks::{Arrival, Delivery, SequenceCheck, Verifier, VerifyError};
use reqwest::header::HeaderMap;

/// The delivery, if it is genuine and has not come before. Answer `Ok` with 204, and `Err` with 400.
///
/// Keep the check beside what you make of the deliveries; `check.missing()` names what has not come.
pub(crate) fn receive(
    verifier: &Verifier,
    check: &mut SequenceCheck,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Option<Delivery>, VerifyError> {
    let delivery = verifier.verify(headers, body)?;
    match check.record(delivery.meta.endpoint_seq) {
        Arrival::Duplicate => Ok(None),
        Arrival::Next | Arrival::Late | Arrival::Ahead => Ok(Some(delivery)),
    }
}
