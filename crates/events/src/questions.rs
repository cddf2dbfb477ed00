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
);
questions!("inventory", inventory::InventoryQuestion, inventory_question:
    GetLevels => Levels,
    ListLevels => Levels,
    ListLocations => Locations,
    ListMovements => Movements,
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
