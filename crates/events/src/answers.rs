//! The answers to commands: which message answers which command.

use crate::proto::{
    answer_body::Answer,
    catalog::PutProductsAnswer,
    inventory::{PutLocationAnswer, RecordStockAnswer, SetStockLimitsAnswer},
    notify::ChangeWebhooksAnswer,
    order::{CancelOrderAnswer, PlaceOrderAnswer, ReleaseOrderAnswer, StartPaymentAnswer},
    payment::{RefundPaymentAnswer, SettlePaymentAnswer},
    shop::{ChangeShopAnswer, CreateShopAnswer, ResumeShopAnswer, SuspendShopAnswer},
};

/// The answer to a command of one kind.
pub trait CommandAnswer: Sized {
    /// Takes the answer out of the body in which answers of all kinds stand; `None` when it is one of
    /// another kind.
    fn take(answer: Answer) -> Option<Self>;
}

/// Says under which name a message stands in the body.
macro_rules! answers {
    ($($message:ident => $name:ident),+ $(,)?) => {
        $(
            impl CommandAnswer for $message {
                fn take(answer: Answer) -> Option<Self> {
                    match answer {
                        Answer::$name(answer) => Some(answer),
                        _ => None,
                    }
                }
            }
        )+
    };
}

answers! {
    PutProductsAnswer => PutProducts,
    RecordStockAnswer => RecordStock,
    PutLocationAnswer => PutLocation,
    SetStockLimitsAnswer => SetStockLimits,
    PlaceOrderAnswer => PlaceOrder,
    CancelOrderAnswer => CancelOrder,
    RefundPaymentAnswer => RefundPayment,
    SettlePaymentAnswer => SettlePayment,
    StartPaymentAnswer => StartPayment,
    ReleaseOrderAnswer => ReleaseOrder,
    CreateShopAnswer => CreateShop,
    ChangeShopAnswer => ChangeShop,
    SuspendShopAnswer => SuspendShop,
    ResumeShopAnswer => ResumeShop,
    ChangeWebhooksAnswer => ChangeWebhooks,
}
