//! Answers to commands.

use events::proto::{
    AnswerBody, answer_body,
    order::{self, cancel_order_answer, place_order_answer},
};
use prost::Message;

use super::status_to_wire;
use crate::domain::{Answer, CancelAnswer, LineProblem, LineProblemCode, PlaceAnswer};

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
    };
    AnswerBody { answer: Some(answer) }.encode_to_vec()
}

fn place(answer: &PlaceAnswer) -> place_order_answer::Outcome {
    use place_order_answer::{
        Outcome, Placed, PlacedBefore, ReferenceTaken, Refused, TotalOutOfRange,
    };
    match answer {
        PlaceAnswer::Placed { order_id, total, unit_prices, placed_at } => {
            Outcome::Placed(Placed {
                order_id: order_id.to_string(),
                total: Some((*total).into()),
                unit_prices: unit_prices.clone(),
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
    }
}

fn problem(problem: &LineProblem) -> order::LineProblem {
    let code = match problem.code {
        LineProblemCode::UnknownSku => order::LineProblemCode::UnknownSku,
        LineProblemCode::Discontinued => order::LineProblemCode::Discontinued,
        LineProblemCode::OtherCurrency => order::LineProblemCode::OtherCurrency,
    };
    let (line, sku) = (problem.line as u32, problem.sku.to_string());
    order::LineProblem { line, sku, code: code.into() }
}

fn cancel(answer: CancelAnswer) -> cancel_order_answer::Outcome {
    use cancel_order_answer::{Cancelled, NotFound, Outcome, TooLate};
    match answer {
        CancelAnswer::Cancelled => Outcome::Cancelled(Cancelled {}),
        CancelAnswer::TooLate { status } => {
            Outcome::TooLate(TooLate { status: status_to_wire(status).into() })
        }
        CancelAnswer::NotFound => Outcome::NotFound(NotFound {}),
    }
}
