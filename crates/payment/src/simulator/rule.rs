//! How the simulated provider behaves, as the payment method says: see the table in
//! [`super`].

use std::time::Duration;

use crate::provider_api::Task;

/// The code of an authorisation or a charge whose payment method is not one of the simulator's.
const INVALID: &str = "invalid_payment_method";

/// How the provider behaves in an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rule {
    /// It does it.
    Approve,
    /// It refuses.
    Decline {
        /// With this code.
        code: String,
    },
    /// It does it, and says so this much later.
    Slow(Duration),
    /// It does it, and the answer is lost.
    Lost,
    /// It says nothing, and does it this much later.
    Late(Duration),
    /// It has forgotten what it once authorised.
    Forget,
    /// The customer has to do something first, and has done it at a later look-up.
    Action {
        /// At which.
        lookups: i64,
    },
    /// The first calls fail, doing nothing.
    Error {
        /// So many.
        times: i64,
    },
    /// The first calls do not reach it, queries included.
    Outage {
        /// So many.
        times: i64,
    },
}

impl Rule {
    /// The rule for an operation on what was or is paid with `payment_method`.
    pub(super) fn of(payment_method: &str, task: &Task) -> Self {
        let Some(script) = payment_method.strip_prefix("sim:") else {
            return Self::Approve;
        };
        match parse(script) {
            Some((Some(name), rule)) if name == task.as_str() => rule,
            Some((None, rule)) if is_first(task) => rule,
            Some(_) => Self::Approve,
            None => Self::Decline { code: INVALID.to_owned() },
        }
    }
}

/// Whether a payment begins with it.
fn is_first(task: &Task) -> bool {
    match task {
        Task::Authorize { .. } | Task::Charge { .. } => true,
        Task::Capture { .. } | Task::Void { .. } | Task::Refund { .. } => false,
    }
}

/// The name of the task that a script is about, none for the one with which a payment begins; and its rule for it.
fn parse(script: &str) -> Option<(Option<&'static str>, Rule)> {
    let (name, behaviour) = ["charge", "capture", "void", "refund"]
        .into_iter()
        .find_map(|name| Some((Some(name), script.strip_prefix(name)?.strip_prefix('_')?)))
        .unwrap_or((None, script));
    let begins = matches!(name, None | Some("charge"));
    let (verb, argument) = match behaviour.split_once(':') {
        Some((verb, argument)) => (verb, Some(argument)),
        None => (behaviour, None),
    };
    let rule = match (verb, argument) {
        ("approve", None) => Rule::Approve,
        ("decline", Some(code)) if !code.is_empty() => Rule::Decline { code: code.to_owned() },
        ("slow", Some(millis)) => Rule::Slow(Duration::from_millis(millis.parse().ok()?)),
        ("lost", None) => Rule::Lost,
        ("late", Some(millis)) => Rule::Late(Duration::from_millis(millis.parse().ok()?)),
        ("forget", None) if !begins => Rule::Forget,
        ("action", Some(lookups)) if begins => Rule::Action { lookups: lookups.parse().ok()? },
        ("error", Some(times)) => Rule::Error { times: times.parse().ok()? },
        ("outage", Some(times)) => Rule::Outage { times: times.parse().ok()? },
        _ => return None,
    };
    Some((name, rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorize() -> Task {
        Task::Authorize { payment_method: String::new() }
    }

    fn charge() -> Task {
        Task::Charge { payment_method: String::new() }
    }

    fn capture() -> Task {
        Task::Capture { provider_reference: String::new() }
    }

    fn void() -> Task {
        Task::Void { provider_reference: String::new() }
    }

    fn declined(code: &str) -> Rule {
        Rule::Decline { code: code.into() }
    }

    #[test]
    fn what_is_no_script_is_approved() {
        for method in ["card", "", "simple", "sim"] {
            assert_eq!(Rule::of(method, &authorize()), Rule::Approve, "{method:?}");
        }
    }

    #[test]
    fn a_script_is_about_the_first_operation_unless_it_names_another() {
        let slow = Rule::Slow(Duration::from_millis(1_500));
        for (method, task, rule) in [
            ("sim:approve", authorize(), Rule::Approve),
            ("sim:decline:insufficient_funds", authorize(), declined("insufficient_funds")),
            ("sim:decline:insufficient_funds", capture(), Rule::Approve),
            ("sim:capture_decline:expired", authorize(), Rule::Approve),
            ("sim:capture_decline:expired", capture(), declined("expired")),
            ("sim:void_decline:no", void(), declined("no")),
            ("sim:slow:1500", authorize(), slow.clone()),
            ("sim:void_slow:1500", void(), slow),
            ("sim:lost", authorize(), Rule::Lost),
            ("sim:late:1500", authorize(), Rule::Late(Duration::from_millis(1_500))),
            ("sim:void_forget", void(), Rule::Forget),
            ("sim:action:2", authorize(), Rule::Action { lookups: 2 }),
            ("sim:capture_lost", capture(), Rule::Lost),
            ("sim:error:3", authorize(), Rule::Error { times: 3 }),
            ("sim:void_outage:2", void(), Rule::Outage { times: 2 }),
            ("sim:decline:expired", charge(), declined("expired")),
            ("sim:charge_decline:expired", charge(), declined("expired")),
            ("sim:charge_decline:expired", authorize(), Rule::Approve),
            ("sim:charge_action:2", charge(), Rule::Action { lookups: 2 }),
            ("sim:charge_approve", charge(), Rule::Approve),
            ("sim:refund_decline:no", charge(), Rule::Approve),
        ] {
            assert_eq!(Rule::of(method, &task), rule, "{method:?} {task:?}");
        }
    }

    #[test]
    fn a_script_that_is_none_is_declined() {
        for method in [
            "sim:",
            "sim:declien:x",
            "sim:decline",
            "sim:decline:",
            "sim:slow:soon",
            "sim:lost:1",
            "sim:action",
            "sim:forget",
            "sim:void_action:1",
            "sim:charge_forget",
        ] {
            assert_eq!(Rule::of(method, &authorize()), declined(INVALID), "{method:?}");
        }
    }
}
