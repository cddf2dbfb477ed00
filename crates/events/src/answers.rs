//! The answers to commands: which message answers which command.

use crate::proto::{
    answer_body::Answer,
    catalog::{
        ArchiveListingAnswer, CategoryResult, DeleteCategoryAnswer, ListingResult,
        PutCategoryAnswer, PutListingAnswer, PutProductsAnswer,
    },
    inventory::{
        DropRejectionsAnswer, LocationResult, PutLocationAnswer, RecordStockAnswer,
        RedriveRejectionsAnswer, SetStockLimitsAnswer, StockLimitsResult,
    },
    notify::{ChangeWebhooksAnswer, EndpointResult},
    order::{
        CancelOrderAnswer, PlaceOrderAnswer, ReleaseOrderAnswer, StartPaymentAnswer,
        cancel_order_answer, place_order_answer, release_order_answer, start_payment_answer,
    },
    payment::{
        RefundPaymentAnswer, SettlePaymentAnswer, refund_payment_answer, settle_payment_answer,
    },
    shop::{
        AddKeyAnswer, ChangeShopAnswer, CreateShopAnswer, KeyResult, ResumeShopAnswer,
        RevokeKeyAnswer, RotateKeyAnswer, ShopResult, SuspendShopAnswer,
    },
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
    PutCategoryAnswer => PutCategory,
    DeleteCategoryAnswer => DeleteCategory,
    PutListingAnswer => PutListing,
    ArchiveListingAnswer => ArchiveListing,
    RecordStockAnswer => RecordStock,
    PutLocationAnswer => PutLocation,
    SetStockLimitsAnswer => SetStockLimits,
    RedriveRejectionsAnswer => RedriveRejections,
    DropRejectionsAnswer => DropRejections,
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
    AddKeyAnswer => AddKey,
    RotateKeyAnswer => RotateKey,
    RevokeKeyAnswer => RevokeKey,
    ChangeWebhooksAnswer => ChangeWebhooks,
}

/// Whether an answer refuses what a command asked for. One about many lines never does: it says for each
/// what became of it.
pub fn is_refusal(answer: &Answer) -> bool {
    let of_shop = |result: ShopResult| {
        matches!(result, ShopResult::Exists | ShopResult::Unknown | ShopResult::OtherVersion)
    };
    let of_key = |result: KeyResult| {
        matches!(result, KeyResult::Exists | KeyResult::Unknown | KeyResult::Ended)
    };
    let of_category = |result: CategoryResult| {
        !matches!(
            result,
            CategoryResult::Created
                | CategoryResult::Changed
                | CategoryResult::Unchanged
                | CategoryResult::Deleted
        )
    };
    let of_listing = |result: ListingResult| {
        matches!(
            result,
            ListingResult::Unknown | ListingResult::OtherVersion | ListingResult::Refused
        )
    };
    match answer {
        Answer::PutCategory(answer) => of_category(answer.result()),
        Answer::DeleteCategory(answer) => of_category(answer.result()),
        Answer::PutListing(answer) => of_listing(answer.result()),
        Answer::ArchiveListing(answer) => of_listing(answer.result()),
        Answer::PutProducts(_)
        | Answer::RecordStock(_)
        | Answer::RedriveRejections(_)
        | Answer::DropRejections(_) => false,
        Answer::PutLocation(answer) => answer.result() == LocationResult::TooMany,
        Answer::SetStockLimits(answer) => matches!(
            answer.result(),
            StockLimitsResult::UnknownSku
                | StockLimitsResult::UnknownLocation
                | StockLimitsResult::OtherLimits
        ),
        Answer::PlaceOrder(answer) => !matches!(
            answer.outcome,
            Some(
                place_order_answer::Outcome::Placed(_)
                    | place_order_answer::Outcome::PlacedBefore(_)
            )
        ),
        Answer::CancelOrder(answer) => {
            !matches!(answer.outcome, Some(cancel_order_answer::Outcome::Cancelled(_)))
        }
        Answer::StartPayment(answer) => {
            !matches!(answer.outcome, Some(start_payment_answer::Outcome::Started(_)))
        }
        Answer::ReleaseOrder(answer) => {
            !matches!(answer.outcome, Some(release_order_answer::Outcome::Released(_)))
        }
        Answer::RefundPayment(answer) => {
            !matches!(answer.outcome, Some(refund_payment_answer::Outcome::Accepted(_)))
        }
        Answer::SettlePayment(answer) => {
            !matches!(answer.outcome, Some(settle_payment_answer::Outcome::Settled(_)))
        }
        Answer::CreateShop(answer) => of_shop(answer.result()),
        Answer::ChangeShop(answer) => of_shop(answer.result()),
        Answer::SuspendShop(answer) => of_shop(answer.result()),
        Answer::ResumeShop(answer) => of_shop(answer.result()),
        Answer::AddKey(answer) => of_key(answer.result()),
        Answer::RotateKey(answer) => of_key(answer.result()),
        Answer::RevokeKey(answer) => of_key(answer.result()),
        Answer::ChangeWebhooks(answer) => !matches!(
            answer.result(),
            EndpointResult::Created | EndpointResult::Changed | EndpointResult::Unchanged
        ),
    }
}
