//! Answers, as they are sent and kept.

use events::proto::{
    self,
    answer_body::Answer as Body,
    payment::{
        SettlePaymentAnswer,
        settle_payment_answer::{NotApplicable, NotStuck, Outcome, PaymentNotFound, Settled},
    },
};
use prost::Message;

use crate::domain::{Answer, SettleAnswer};

pub(super) fn encode(answer: &Answer) -> Vec<u8> {
    let answer = match answer {
        Answer::Settle(answer) => Body::SettlePayment(settle(*answer)),
    };
    proto::AnswerBody { answer: Some(answer) }.encode_to_vec()
}

fn settle(answer: SettleAnswer) -> SettlePaymentAnswer {
    let outcome = match answer {
        SettleAnswer::Settled { payment_id, operation } => {
            Outcome::Settled(Settled { operation_id: operation.id(payment_id) })
        }
        SettleAnswer::NotFound => Outcome::NotFound(PaymentNotFound {}),
        SettleAnswer::NotStuck => Outcome::NotStuck(NotStuck {}),
        SettleAnswer::NotApplicable => Outcome::NotApplicable(NotApplicable {}),
    };
    SettlePaymentAnswer { outcome: Some(outcome) }
}
