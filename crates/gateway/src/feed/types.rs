//! Which types of events a reader of the feed wants.

use std::sync::LazyLock;

use events::{catalogue::public_events, type_filter::TypeFilter};
use protocol::id::ParseError;

/// The most types of one request.
const MAX_TYPES: usize = 100;

/// The type of each public event, by service.
static TYPES: LazyLock<Vec<(&str, String)>> = LazyLock::new(|| {
    let types = public_events().iter();
    types.map(|event| (event.service.as_str(), event.event_type())).collect()
});

/// The services that write public events.
pub(crate) static SERVICES: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let mut services: Vec<_> = TYPES.iter().map(|(service, _)| *service).collect();
    services.sort_unstable();
    services.dedup();
    services
});

/// Some types of events, or all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WantedTypes(Option<Vec<TypeFilter>>);

impl WantedTypes {
    /// Reads types between commas: `order.paid`, `order.*`, `*`. One that there is not is refused:
    /// whoever misspells it would wait for ever.
    pub(crate) fn parse(text: &str) -> Result<Self, ParseError> {
        let filters: Vec<_> = text.split(',').map(str::trim).collect();
        if filters.len() > MAX_TYPES {
            return Err(ParseError::new("types", "must be at most 100", text));
        }
        let filters = filters.into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        Ok(Self(Some(filters)))
    }

    /// The services of which events are wanted.
    pub(crate) fn services(&self) -> Vec<&'static str> {
        let wants =
            |service: &&&str| TYPES.iter().any(|(of, name)| of == *service && self.matches(name));
        SERVICES.iter().filter(wants).copied().collect()
    }

    /// Whether an event of that type is wanted.
    pub(crate) fn matches(&self, event_type: &str) -> bool {
        self.0.as_ref().is_none_or(|filters| filters.iter().any(|it| it.matches(event_type)))
    }
}

fn parse(text: &str) -> Result<TypeFilter, ParseError> {
    let is_known = |filter: &TypeFilter| TYPES.iter().any(|(_, known)| filter.matches(known));
    TypeFilter::parse(text).ok().filter(is_known).ok_or_else(|| {
        let rule = "must be types of docs/events.md, such as order.paid, order.* or *";
        ParseError::new("types", rule, text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> WantedTypes {
        WantedTypes::parse(text).expect("there are such types")
    }

    #[test]
    fn types_are_wanted_by_name_by_service_or_all() {
        let some = filter("order.paid, inventory.*");
        assert_eq!(some.services(), ["inventory", "order"]);
        assert!(some.matches("order.paid") && some.matches("inventory.counted"));
        assert!(!some.matches("order.placed") && !some.matches("payment.captured"));
        for all in [filter("*"), filter("order.paid,*"), WantedTypes::default()] {
            assert_eq!(all.services(), *SERVICES);
            assert!(all.matches("shop.created"));
        }
        assert_eq!(*SERVICES, ["catalog", "inventory", "order", "payment", "shop"]);
    }

    #[test]
    fn types_that_there_are_not_are_refused() {
        let many = ["order.paid"; MAX_TYPES + 1].join(",");
        for wrong in
            ["", ",", "order", "order.payed", "orders.*", "notify.*", "engine.*", "**", ".*", &many]
        {
            assert!(WantedTypes::parse(wrong).is_err(), "{wrong}");
        }
    }
}
