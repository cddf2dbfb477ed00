//! Answers to commands.

use events::{
    money::Money,
    proto::{
        AnswerBody, answer_body,
        order::{
            self, cancel_order_answer, place_order_answer, release_order_answer,
            start_payment_answer,
        },
    },
};
use prost::Message;

use super::{fulfilment_status_to_wire, payment_status_to_wire, status_to_wire};
use crate::domain::{
    Answer, CancelAnswer, LineProblem, LineProblemCode, PlaceAnswer, ReleaseAnswer,
    StartPaymentAnswer,
};

pub(super) fn encode(answer: &Answer) -> Vec<u8> {
    let answer = match answer {
        Answer::Place(answer) => {
            let outcome = Some(place(answer));
            answer_body::Answer::PlaceOrder(order::PlaceOrderAnswer { outcome })
        }
        Answer::Cancel(answer) => {
            let outcome = Some(cancel(*answer));
            answer_body::Answer::CancelOrder(order::CancelOrderAnswer { outcome })
        }
        Answer::StartPayment(answer) => {
            let outcome = Some(start_payment(*answer));
            answer_body::Answer::StartPayment(order::StartPaymentAnswer { outcome })
        }
        Answer::Release(answer) => {
            let outcome = Some(release(*answer));
            answer_body::Answer::ReleaseOrder(order::ReleaseOrderAnswer { outcome })
        }
    };
    AnswerBody { answer: Some(answer) }.encode_to_vec()
}

fn place(answer: &PlaceAnswer) -> place_order_answer::Outcome {
    use place_order_answer::{
        CountryRefused, CurrencyRefused, OnAccountRefused, Outcome, Placed, PlacedBefore,
        ReferenceTaken, Refused, TotalMismatch, TotalOutOfRange,
    };
    match answer {
        PlaceAnswer::Placed { order_id, number, total, unit_prices, titles, placed_at } => {
            let price = |minor| Money { minor, currency: total.currency }.into();
            Outcome::Placed(Placed {
                order_id: order_id.to_string(),
                number: *number,
                total: Some((*total).into()),
                unit_prices: unit_prices.iter().map(|minor| price(*minor)).collect(),
                titles: titles.clone(),
                placed_at: Some((*placed_at).into()),
            })
        }
        PlaceAnswer::PlacedBefore { order_id } => {
            Outcome::PlacedBefore(PlacedBefore { order_id: order_id.to_string() })
        }
        PlaceAnswer::ReferenceTaken { order_id } => {
            Outcome::ReferenceTaken(ReferenceTaken { order_id: order_id.to_string() })
        }
        PlaceAnswer::Refused { problems } => {
            Outcome::Refused(Refused { problems: problems.iter().map(problem).collect() })
        }
        PlaceAnswer::TotalOutOfRange => Outcome::TotalOutOfRange(TotalOutOfRange {}),
        PlaceAnswer::TotalMismatch { expected, total } => Outcome::TotalMismatch(TotalMismatch {
            expected: Some((*expected).into()),
            total: Some((*total).into()),
        }),
        PlaceAnswer::OnAccountRefused => Outcome::OnAccountRefused(OnAccountRefused {}),
        PlaceAnswer::CurrencyRefused { currency } => {
            Outcome::CurrencyRefused(CurrencyRefused { currency: currency.to_string() })
        }
        PlaceAnswer::CountryRefused => Outcome::CountryRefused(CountryRefused {}),
    }
}

fn problem(problem: &LineProblem) -> order::LineProblem {
    let code = match problem.code {
        LineProblemCode::UnknownSku => order::LineProblemCode::UnknownSku,
        LineProblemCode::Discontinued => order::LineProblemCode::Discontinued,
        LineProblemCode::OtherCurrency => order::LineProblemCode::OtherCurrency,
        LineProblemCode::OtherTaxBasis => order::LineProblemCode::OtherTaxBasis,
        LineProblemCode::DiscountTooLarge => order::LineProblemCode::DiscountTooLarge,
        LineProblemCode::TaxMismatch => order::LineProblemCode::TaxMismatch,
    };
    let (line, sku) = (problem.line as u32, problem.sku.to_string());
    order::LineProblem { line, sku, code: code.into() }
}

fn cancel(answer: CancelAnswer) -> cancel_order_answer::Outcome {
    use cancel_order_answer::{Cancelled, NotFound, Outcome, TooLate};
    match answer {
        CancelAnswer::Cancelled => Outcome::Cancelled(Cancelled {}),
        CancelAnswer::TooLate { statuses } => Outcome::TooLate(TooLate {
            status: status_to_wire(statuses.0).into(),
            fulfilment_status: fulfilment_status_to_wire(statuses.2).into(),
        }),
        CancelAnswer::NotFound => Outcome::NotFound(NotFound {}),
    }
}

fn start_payment(answer: StartPaymentAnswer) -> start_payment_answer::Outcome {
    use start_payment_answer::{NotDue, NotFound, Outcome, Started};
    match answer {
        StartPaymentAnswer::Started { payment_id, amount, due_by } => Outcome::Started(Started {
            payment_id: payment_id.to_string(),
            amount: Some(amount.into()),
            due_by: Some(due_by.into()),
        }),
        StartPaymentAnswer::NotDue { statuses } => Outcome::NotDue(NotDue {
            status: status_to_wire(statuses.0).into(),
            payment_status: payment_status_to_wire(statuses.1).into(),
        }),
        StartPaymentAnswer::NotFound => Outcome::NotFound(NotFound {}),
    }
}

fn release(answer: ReleaseAnswer) -> release_order_answer::Outcome {
    use release_order_answer::{NotFound, Outcome, Released};
    match answer {
        ReleaseAnswer::Released => Outcome::Released(Released {}),
        ReleaseAnswer::NotFound => Outcome::NotFound(NotFound {}),
    }
}
