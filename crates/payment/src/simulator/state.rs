//! What the simulated provider decides: what it keeps of each key and of each authorisation, and
//! what it answers. No I/O, no clock.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use events::money::Money;
use protocol::time::Timestamp;

use super::{
    authorization::{Authorization, Status},
    rule::Rule,
};
use crate::provider_api::{Answer, DatedAnswer, ProviderError, Request, Task};

/// The part of the ledger that some calls touch.
#[derive(Debug, Default)]
pub(super) struct LedgerState {
    /// When the calls are answered.
    pub(super) now: Timestamp,
    /// What is kept of each key.
    pub(super) operations: Records<Operation>,
    /// The money set aside or taken in one step, by the provider's name for it.
    pub(super) authorizations: Records<Authorization>,
}

/// Records by their key, and which of them have changed.
#[derive(Debug)]
pub(super) struct Records<T> {
    records: HashMap<String, T>,
    changed: BTreeSet<String>,
}

impl<T> Default for Records<T> {
    fn default() -> Self {
        Self { records: HashMap::new(), changed: BTreeSet::new() }
    }
}

impl<T> Records<T> {
    pub(super) fn get(&self, key: &str) -> Option<&T> {
        self.records.get(key)
    }

    /// The record of that key, to be changed.
    fn change(&mut self, key: &str) -> Option<&mut T> {
        let record = self.records.get_mut(key)?;
        self.changed.insert(key.to_owned());
        Some(record)
    }

    fn put(&mut self, key: String, record: T) {
        self.changed.insert(key.clone());
        self.records.insert(key, record);
    }

    /// Takes a record as it is in the ledger.
    pub(super) fn loaded(&mut self, key: String, record: T) {
        self.records.insert(key, record);
    }

    /// The records that have changed, by their key.
    pub(super) fn changed(&self) -> impl Iterator<Item = (&String, &T)> {
        self.changed.iter().filter_map(|key| self.records.get_key_value(key))
    }
}

/// What is kept of an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operation {
    /// What was asked.
    pub(super) request: Request,
    /// The calls that failed or did not reach the provider, since its rule said so.
    pub(super) missed: i64,
    /// What was answered; nothing when only such calls came so far.
    pub(super) answer: Option<Answer>,
    /// When it was first asked for.
    pub(super) at: Timestamp,
    /// When it was carried out or refused.
    pub(super) done_at: Option<Timestamp>,
}

/// An answer, and how it gets to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) answer: DatedAnswer,
    pub(super) delivery: Delivery,
}

/// How an answer gets to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Without delay.
    AtOnce,
    /// This much later.
    Late(Duration),
    /// Never.
    Lost,
}

/// The code of an authorisation that the provider does not know.
const UNKNOWN: &str = "unknown_authorization";
/// How long the customer has for an action.
const ACTION_TTL: Duration = Duration::from_mins(15);

/// What the customer has to do for an authorisation or a charge that was asked for at `at`.
fn action(request: &Request, at: Timestamp) -> Answer {
    let url = format!("https://bank.example/confirm/{}", request.operation_id);
    Answer::ActionRequired { url, data: String::new(), expires_at: at + ACTION_TTL }
}

impl LedgerState {
    /// Does what is asked, unless it was done under that key before.
    pub(super) fn perform(&mut self, request: &Request) -> Result<Reply, ProviderError> {
        if let Some(answer) = self.known(request)? {
            return Ok(Reply { answer, delivery: Delivery::AtOnce });
        }
        let rule = self.rule(request);
        let delivery = match &rule {
            Rule::Approve | Rule::Decline { .. } => Delivery::AtOnce,
            Rule::Slow(delay) => Delivery::Late(*delay),
            Rule::Lost => Delivery::Lost,
            Rule::Late(delay) if self.at(request) + *delay <= self.now => Delivery::AtOnce,
            Rule::Late(_) => {
                let at = self.note(request, 0, None);
                // Nobody sees this answer.
                let answer = DatedAnswer { answer: Answer::Declined { code: String::new() }, at };
                return Ok(Reply { answer, delivery: Delivery::Lost });
            }
            Rule::Forget => {
                self.forget(request);
                Delivery::AtOnce
            }
            Rule::Action { .. } => {
                let at = self.note(request, 0, None);
                let answer = DatedAnswer { answer: action(request, at), at };
                return Ok(Reply { answer, delivery: Delivery::AtOnce });
            }
            Rule::Error { times } => {
                self.miss(request, *times, ProviderError::Failed)?;
                Delivery::AtOnce
            }
            Rule::Outage { times } => {
                self.miss(request, *times, ProviderError::Unreachable)?;
                Delivery::AtOnce
            }
        };
        let answer = match rule {
            Rule::Decline { code } => Answer::Declined { code },
            Rule::Approve
            | Rule::Slow(_)
            | Rule::Lost
            | Rule::Late(_)
            | Rule::Forget
            | Rule::Action { .. }
            | Rule::Error { .. }
            | Rule::Outage { .. } => self.carry_out(request),
        };
        let at = self.note(request, self.missed(request), Some(answer.clone()));
        Ok(Reply { answer: DatedAnswer { answer, at }, delivery })
    }

    /// Lets the provider forget what it authorised.
    fn forget(&mut self, request: &Request) {
        if let Task::Capture { provider_reference }
        | Task::Void { provider_reference }
        | Task::Refund { provider_reference } = &request.task
            && let Some(authorization) = self.authorizations.change(provider_reference)
        {
            authorization.status = Status::Forgotten;
        }
    }

    /// When what was asked for is carried out, if that is later than it was asked for.
    pub(super) fn due(&self, operation: &Operation) -> Option<Timestamp> {
        match self.rule(&operation.request) {
            Rule::Late(delay) if operation.answer.is_none() => Some(operation.at + delay),
            _ => None,
        }
    }

    /// Keeps what is known of a key; returns when that became so.
    fn note(&mut self, request: &Request, missed: i64, answer: Option<Answer>) -> Timestamp {
        let at = self.at(request);
        // What nobody asked for any more was carried out when it was due, and not when it was seen.
        let late = if let Rule::Late(delay) = self.rule(request) { Some(at + delay) } else { None };
        let done_at = answer.as_ref().map(|_| late.unwrap_or(self.now).min(self.now));
        let operation = Operation { request: request.clone(), missed, answer, at, done_at };
        self.operations.put(request.operation_id.clone(), operation);
        done_at.unwrap_or(at)
    }

    /// When it was first asked for.
    fn at(&self, request: &Request) -> Timestamp {
        self.operations.get(&request.operation_id).map_or(self.now, |known| known.at)
    }

    /// Tells what became of what was asked under that key.
    pub(super) fn find(&mut self, request: &Request) -> Result<Option<DatedAnswer>, ProviderError> {
        let answer = self.known(request)?;
        if answer.is_some() || self.operations.get(&request.operation_id).is_none() {
            return Ok(answer);
        }
        match self.rule(request) {
            Rule::Outage { times } => {
                self.miss(request, times, ProviderError::Unreachable)?;
                Ok(None)
            }
            Rule::Action { lookups } => Ok(Some(self.look_for_action(request, lookups))),
            Rule::Late(delay) if self.at(request) + delay <= self.now => {
                let answer = self.carry_out(request);
                let at = self.note(request, 0, Some(answer.clone()));
                Ok(Some(DatedAnswer { answer, at }))
            }
            Rule::Approve
            | Rule::Decline { .. }
            | Rule::Slow(_)
            | Rule::Lost
            | Rule::Late(_)
            | Rule::Forget
            | Rule::Error { .. } => Ok(None),
        }
    }

    /// Whether the customer has done what he had to.
    fn look_for_action(&mut self, request: &Request, lookups: i64) -> DatedAnswer {
        let (at, seen) = (self.at(request), self.missed(request) + 1);
        let answer = if at + ACTION_TTL <= self.now {
            Answer::Declined { code: "action_expired".into() }
        } else if seen >= lookups {
            self.carry_out(request)
        } else {
            self.note(request, seen, None);
            return DatedAnswer { answer: action(request, at), at };
        };
        let at = self.note(request, seen, Some(answer.clone()));
        DatedAnswer { answer, at }
    }

    /// What was answered to that request; an error if its key belongs to another one.
    fn known(&self, request: &Request) -> Result<Option<DatedAnswer>, ProviderError> {
        let Some(known) = self.operations.get(&request.operation_id) else { return Ok(None) };
        if known.request != *request {
            return Err(ProviderError::KeyReused);
        }
        let at = known.done_at.unwrap_or(known.at);
        Ok(known.answer.clone().map(|answer| DatedAnswer { answer, at }))
    }

    fn rule(&self, request: &Request) -> Rule {
        let payment_method = match &request.task {
            Task::Authorize { payment_method } | Task::Charge { payment_method } => payment_method,
            Task::Capture { provider_reference }
            | Task::Void { provider_reference }
            | Task::Refund { provider_reference } => {
                match self.authorizations.get(provider_reference) {
                    Some(authorization) => &authorization.payment_method,
                    None => return Rule::Decline { code: "unknown_authorization".into() },
                }
            }
        };
        Rule::of(payment_method, &request.task)
    }

    fn missed(&self, request: &Request) -> i64 {
        self.operations.get(&request.operation_id).map_or(0, |known| known.missed)
    }

    /// Lets the call miss with `error`, if it is one of the first `times`.
    fn miss(
        &mut self,
        request: &Request,
        times: i64,
        error: ProviderError,
    ) -> Result<(), ProviderError> {
        let missed = self.missed(request);
        if missed >= times {
            return Ok(());
        }
        self.note(request, missed + 1, None);
        Err(error)
    }

    /// Moves the money.
    fn carry_out(&mut self, request: &Request) -> Answer {
        match &request.task {
            Task::Authorize { payment_method } => self.authorize(request, payment_method, 0),
            Task::Charge { payment_method } => {
                self.authorize(request, payment_method, request.amount.minor)
            }
            Task::Capture { provider_reference } => self.change(
                request,
                provider_reference,
                |authorization, amount| match authorization.status {
                    Status::Held if amount <= authorization.held() => {
                        authorization.captured += amount;
                        Ok(())
                    }
                    Status::Held if authorization.held() == 0 => Err("captured_already"),
                    Status::Held => Err("amount_too_large"),
                    Status::Voided => Err("voided"),
                    Status::Forgotten => Err(UNKNOWN),
                },
            ),
            Task::Void { provider_reference } => {
                self.change(request, provider_reference, |authorization, _| {
                    match authorization.status {
                        Status::Held if authorization.held() == 0 => Err("captured_already"),
                        Status::Held => {
                            authorization.status = Status::Voided;
                            Ok(())
                        }
                        Status::Voided => Err("voided"),
                        Status::Forgotten => Err(UNKNOWN),
                    }
                })
            }
            Task::Refund { provider_reference } => {
                self.change(request, provider_reference, |authorization, amount| {
                    if authorization.status == Status::Forgotten {
                        return Err(UNKNOWN);
                    }
                    if amount > authorization.captured - authorization.refunded {
                        return Err("amount_too_large");
                    }
                    authorization.refunded += amount;
                    Ok(())
                })
            }
        }
    }

    /// Sets the amount aside, and takes so much of it.
    fn authorize(&mut self, request: &Request, payment_method: &str, taken: i64) -> Answer {
        if request.amount.minor < 0 {
            return Answer::Declined { code: "invalid_amount".into() };
        }
        let provider_reference = format!("sim_{}", request.operation_id);
        let authorization = Authorization {
            shop: request.shop.clone(),
            payment_method: payment_method.to_owned(),
            amount: request.amount,
            status: Status::Held,
            captured: taken,
            refunded: 0,
        };
        self.authorizations.put(provider_reference.clone(), authorization);
        Answer::Approved { provider_reference }
    }

    /// Changes what was set aside, or declines with the code that `change` yields.
    fn change(
        &mut self,
        request: &Request,
        provider_reference: &str,
        change: impl FnOnce(&mut Authorization, i64) -> Result<(), &'static str>,
    ) -> Answer {
        let provider_reference = provider_reference.to_owned();
        let authorization = self.authorizations.change(&provider_reference);
        let Some(authorization) = authorization.filter(|known| known.shop == request.shop) else {
            return Answer::Declined { code: "unknown_authorization".into() };
        };
        let Money { minor, currency } = request.amount;
        if minor < 0 || currency != authorization.amount.currency {
            return Answer::Declined { code: "invalid_amount".into() };
        }
        match change(authorization, minor) {
            Ok(()) => Answer::Approved { provider_reference },
            Err(code) => Answer::Declined { code: code.into() },
        }
    }
}
