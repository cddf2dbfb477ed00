//! The questions to services: which service answers each, and with which message.

use prost::Message;

use crate::proto::{catalog, inventory, notify, order, payment, shop};

/// A question to a service about a shop. That there is no such thing is an answer as well.
pub trait Question {
    /// The service that answers it.
    const SERVICE: &'static str;
    /// What it is answered with.
    type Answer: Message + Default;

    /// The question as it is sent: the message that holds one of all questions to the service.
    fn encode(self) -> Vec<u8>;
}

/// The bytes after which a page of a list ends: with what is around them they stay below the largest message of
/// a NATS server.
const MAX_PAGE_BYTES: usize = 500_000;

/// The first `limit` rows of a list, and whether others follow. One row more than `limit` was asked for.
pub fn first<T>(mut rows: Vec<T>, limit: u32) -> (Vec<T>, bool) {
    let has_more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    (rows, has_more)
}

/// As many messages of a list as fit into an answer, one at least; and whether others follow, which `has_more` says
/// of all of them.
pub fn page<M: Message>(messages: impl IntoIterator<Item = M>, has_more: bool) -> (Vec<M>, bool) {
    let (mut page, mut bytes) = (Vec::new(), 0);
    for message in messages {
        bytes += message.encoded_len();
        if bytes > MAX_PAGE_BYTES && !page.is_empty() {
            return (page, true);
        }
        page.push(message);
    }
    (page, has_more)
}

/// Says in which message the questions to a service stand, under which names, and what each is
/// answered with.
macro_rules! questions {
    ($service:literal, $module:ident :: $whole:ident, $oneof:ident: $($question:ident => $answer:ident),+ $(,)?) => {
        $(
            impl Question for $module::$question {
                const SERVICE: &'static str = $service;
                type Answer = $module::$answer;

                fn encode(self) -> Vec<u8> {
                    let question = Some($module::$oneof::Question::$question(self));
                    $module::$whole { question }.encode_to_vec()
                }
            }
        )+
    };
}

questions!("catalog", catalog::CatalogQuestion, catalog_question:
    GetProduct => StoredProduct,
    ListProducts => StoredProducts,
    GetCategory => StoredCategory,
    ListCategories => StoredCategories,
    GetListing => StoredListing,
    ListListings => StoredListings,
);
questions!("inventory", inventory::InventoryQuestion, inventory_question:
    GetLevels => Levels,
    ListLevels => Levels,
    ListLocations => Locations,
    ListMovements => Movements,
    ListGoodsIssues => Movements,
    ListRejections => Rejections,
    GetRejection => Rejection,
    ListConnectors => Connectors,
    GetConnector => Connector,
    GetTotals => Totals,
);
questions!("notify", notify::NotifyQuestion, notify_question:
    GetEndpoint => Endpoint,
    ListEndpoints => Endpoints,
    ListDeliveries => Deliveries,
    GetDelivery => DeliveryWithAttempts,
    GetSealedValues => SealedValues,
    GetProof => Proof,
);
questions!("order", order::OrderQuestion, order_question:
    GetOrder => Order,
    GetTotals => Totals,
    ListOrders => ListedOrders,
);
questions!("payment", payment::PaymentQuestion, payment_question:
    GetPayment => Payment,
    ListPaymentsOfOrder => Payments,
    ListPayments => ListedPayments,
    ListStuckPayments => Payments,
    Reconcile => Reconciliation,
    ListShops => Shops,
    GetTotals => Totals,
);
questions!("shop", shop::ShopQuestion, shop_question:
    GetShop => Shop,
    ListShops => Shops,
    GetKey => Key,
    ListKeys => Keys,
    GetKeyCredentials => KeyCredentials,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_by_its_length_or_by_its_bytes() {
        assert_eq!(first(vec![1, 2, 3], 2), (vec![1, 2], true));
        assert_eq!(first(vec![1, 2], 2), (vec![1, 2], false));
        let large = || "x".repeat(MAX_PAGE_BYTES / 2);
        assert_eq!(page([large()], false), (vec![large()], false));
        assert_eq!(page([large()], true), (vec![large()], true));
        assert_eq!(page([large(), large()], false), (vec![large()], true), "with their lengths");
        let too_large = || "x".repeat(2 * MAX_PAGE_BYTES);
        assert_eq!(page([too_large(), large()], false), (vec![too_large()], true), "one at least");
    }
}
