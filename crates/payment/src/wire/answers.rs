//! Answers, as they are sent and kept.

use events::proto::{
    self,
    answer_body::Answer as Body,
    payment::{
        RefundPaymentAnswer, SettlePaymentAnswer,
        refund_payment_answer::{self, Accepted, NothingToRefund, TooLarge},
        settle_payment_answer::{NotApplicable, NotStuck, Outcome, PaymentNotFound, Settled},
    },
};
use prost::Message;

use crate::domain::{Answer, RefundAnswer, SettleAnswer};

pub(super) fn encode(answer: &Answer) -> Vec<u8> {
    let answer = match answer {
        Answer::Refund(answer) => Body::RefundPayment(refund(*answer)),
        Answer::Settle(answer) => Body::SettlePayment(settle(*answer)),
    };
    proto::AnswerBody { answer: Some(answer) }.encode_to_vec()
}

fn refund(answer: RefundAnswer) -> RefundPaymentAnswer {
    let outcome = match answer {
        RefundAnswer::Accepted { payment_id } => {
            let payment_id = payment_id.to_string();
            refund_payment_answer::Outcome::Accepted(Accepted { payment_id })
        }
        RefundAnswer::NotFound => {
            refund_payment_answer::Outcome::NothingToRefund(NothingToRefund {})
        }
        RefundAnswer::TooLarge { payment_id, refundable } => {
            refund_payment_answer::Outcome::TooLarge(TooLarge {
                payment_id: payment_id.to_string(),
                refundable: Some(refundable.into()),
            })
        }
    };
    RefundPaymentAnswer { outcome: Some(outcome) }
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
