//! How much of the services' logs a client has seen: the headers `Tradewind-After` of a request and
//! `Tradewind-Position` of an answer.
//!
//! A gateway remembers what it has answered itself. A client that sends its next request through
//! another one, or after a restart, carries the position: then it reads what it wrote all the same.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method},
    middleware::Next,
    response::Response,
};
use events::http::{AFTER_HEADER, POSITION_HEADER, Positions};

use crate::problem::{Code, FieldError, Problem};

static POSITION: HeaderName = HeaderName::from_static(POSITION_HEADER);
static AFTER: HeaderName = HeaderName::from_static(AFTER_HEADER);

/// What the client of a request has seen: what it sent, and then also what it is answered. Clones share
/// it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SeenPositions(Arc<Mutex<Positions>>);

/// Reads `Tradewind-After`, and adds `Tradewind-Position` to the response to what may write.
pub(crate) async fn carry_positions(mut request: Request, next: Next) -> Result<Response, Problem> {
    let seen = SeenPositions::of(request.headers())?;
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    request.extensions_mut().insert(seen.clone());
    let mut response = next.run(request).await;
    if let Some(positions) = seen.to_header().filter(|_| !is_read) {
        let value = HeaderValue::from_str(&positions);
        response.headers_mut().extend(value.map(|value| (POSITION.clone(), value)));
    }
    Ok(response)
}

impl SeenPositions {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let values = headers.get_all(&AFTER).iter().map(HeaderValue::to_str);
        let Ok(values) = values.collect::<Result<Vec<_>, _>>() else {
            return Err(invalid("must be visible ASCII characters"));
        };
        if values.is_empty() {
            return Ok(Self::default());
        }
        // As if they were one header (RFC 9110, 5.3).
        let positions = values.join(",").parse().map_err(|error| invalid(&format!("{error}")))?;
        Ok(Self(Arc::new(Mutex::new(positions))))
    }

    /// Refuses positions in another partition than that of the shop: they say nothing about it.
    pub(crate) fn check(&self, partition: impl FnOnce() -> u32) -> Result<(), Problem> {
        let positions = self.lock();
        if positions.is_empty() {
            return Ok(());
        }
        let partition = partition();
        match positions.iter().find(|(_, of, _)| *of != partition) {
            None => Ok(()),
            Some((service, of, _)) => Err(invalid(&format!(
                "must be positions of the same shop, whose partition is {partition}: {service}.{of} is \
                 of another one"
            ))),
        }
    }

    /// The last event of a service's log that was seen; 0 when none was.
    pub(crate) fn of_service(&self, service: &str) -> u64 {
        self.by_service().get(service).copied().unwrap_or(0)
    }

    /// The last event of the log of a service and partition that was seen; 0 when none was.
    pub(crate) fn of_partition(&self, service: &str, partition: u32) -> u64 {
        let positions = self.lock();
        let mut all = positions.iter();
        all.find(|it| (it.0, it.1) == (service, partition)).map_or(0, |(_, _, sequence)| sequence)
    }

    /// By service: the last event of its log that was seen.
    pub(crate) fn by_service(&self) -> HashMap<String, u64> {
        let positions = self.lock();
        positions.iter().map(|(service, _, sequence)| (service.to_owned(), sequence)).collect()
    }

    /// Notes that the client is answered what is in a service's log at `sequence`.
    pub(crate) fn note(&self, service: &str, partition: u32, sequence: u64) {
        self.lock().add(service, partition, sequence);
    }

    /// As a header has it; `None` where there is nothing.
    pub(crate) fn to_header(&self) -> Option<String> {
        let positions = self.lock();
        (!positions.is_empty()).then(|| positions.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, Positions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn invalid(rule: &str) -> Problem {
    let detail = format!("Tradewind-After {rule}");
    let error = FieldError::named("Tradewind-After", &*detail);
    Problem::new(Code::InvalidHeader, detail).naming(vec![error])
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    fn seen(values: &[&str]) -> SeenPositions {
        let value = |value: &&str| HeaderValue::from_str(value).expect("is visible");
        let headers = values.iter().map(|text| (AFTER.clone(), value(text))).collect();
        SeenPositions::of(&headers).expect("is good")
    }

    #[test]
    fn positions_of_several_answers_may_be_sent_together() {
        let seen = seen(&["order.0=7, catalog.0=2", "catalog.0=9,order.0=3"]);
        assert_eq!(seen.lock().to_string(), "catalog.0=9,order.0=7");
    }

    #[test]
    fn what_is_answered_is_never_behind_what_was_sent() {
        let seen = seen(&["catalog.2=5,order.2=9"]);
        seen.note("catalog", 2, 4);
        seen.note("payment", 2, 1);
        assert_eq!(seen.lock().to_string(), "catalog.2=5,order.2=9,payment.2=1");
        assert_eq!((seen.of_service("order"), seen.of_service("inventory")), (9, 0));
    }

    #[test]
    fn positions_of_another_partition_are_refused() {
        let seen = seen(&["catalog.2=5,order.2=9"]);
        seen.check(|| 2).expect("is the partition");
        let refused = seen.check(|| 3).expect_err("is another one");
        assert_eq!(refused.into_response().status(), 400);
        let none = SeenPositions::default();
        none.check(|| panic!("there is nothing to compare it with")).expect("is good");
    }
}
