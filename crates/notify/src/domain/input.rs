//! What the service decides on.

use std::time::Duration;

use bytes::Bytes;

use super::{DisabledReason, NewSecret, SealedValue, Selection, Settings};

/// What the service decides on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Somebody asks for something.
    Command {
        /// The endpoint.
        endpoint_id: String,
        /// What is asked for.
        request: Box<Request>,
        /// The version that the endpoint must have; `None`: any.
        expected_version: Option<u64>,
    },
    /// Other services have published events, one after the other.
    Published(Published),
    /// Deliveries were attempted.
    Attempted {
        /// The endpoint.
        endpoint_id: String,
        /// What came of it.
        round: Round,
    },
}

/// What can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// To create the endpoint.
    Create {
        /// How it is to work.
        settings: Settings,
        /// Its secret.
        secret: NewSecret,
    },
    /// To create the endpoint of the mails of the shop, or to give it these settings.
    SetMail {
        /// The settings, which are those of mails.
        settings: Settings,
        /// The only version at which they are changed, 0: only if there are none; `None`: at any.
        expected_version: Option<u64>,
    },
    /// To give it other settings.
    Change {
        /// How it is to work.
        settings: Settings,
        /// The only version at which it is changed; `None`: at any.
        expected_version: Option<u64>,
    },
    /// To send it nothing any more.
    Disable {
        /// Why, for people.
        note: String,
    },
    /// To send to it again.
    Enable {
        /// Whether what was held meanwhile is delivered.
        deliver_held: bool,
    },
    /// To remove it.
    Delete,
    /// To give it a new secret.
    RotateSecret {
        /// The new secret.
        secret: NewSecret,
        /// How long the secrets before it sign as well.
        keep_old: Duration,
    },
    /// To send a test delivery.
    SendTest,
    /// To send deliveries once more.
    StartReplay {
        /// Identifies it.
        id: String,
        /// The first `endpoint_seq`; 0: the first that there is.
        from: u64,
        /// The last `endpoint_seq`; 0: the last that there is.
        to: u64,
        /// Which deliveries between them.
        selection: Selection,
        /// The most that it sends in a second; `None`: as many as the endpoint takes.
        max_per_second: Option<u32>,
    },
    /// To stop doing so.
    CancelReplay {
        /// The replay.
        id: String,
    },
    /// To replace values by the same ones, encrypted with another key.
    RewrapValues {
        /// Each as it was, and as it is to be.
        values: Vec<(SealedValue, SealedValue)>,
    },
    /// Not to attempt a delivery any more.
    AbortDelivery {
        /// Which.
        seq: u64,
    },
}

/// Public events of one service, in the order of its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The service.
    pub service: &'static str,
    /// The events.
    pub events: Vec<PublishedEvent>,
}

/// A public event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedEvent {
    /// Its shop.
    pub shop: String,
    /// Its sequence in the log of its service.
    pub position: u64,
    /// Its type, such as `order.paid`.
    pub event_type: String,
    /// Its bytes in the log.
    pub bytes: Bytes,
}

/// What came of attempts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Round {
    /// What was delivered: runs of numbers, by the first and the last of each.
    pub delivered: Vec<(u64, u64)>,
    /// What failed.
    pub failed: Vec<Failed>,
    /// What has to wait behind an earlier delivery of the same aggregate: its number, and the aggregate.
    pub behind: Vec<(u64, String)>,
    /// That the endpoint is to be disabled, if it asks for that.
    pub disable: Option<DisableRequest>,
    /// How far replays have got.
    pub replays: Vec<ReplayProgress>,
}

/// An endpoint asks by its answer to be disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisableRequest {
    /// Why.
    pub reason: DisabledReason,
    /// The version of the endpoint by which the request was made.
    pub settings_version: u64,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is told of an attempt by itself")]
pub struct Failed {
    /// Which delivery.
    pub seq: u64,
    /// What went wrong.
    pub error_class: String,
    /// The HTTP status, or for a mail the reply code of SMTP; 0 without an answer.
    pub status: u16,
    /// Whether the endpoint is overloaded.
    pub is_overloaded: bool,
    /// How long the endpoint asked to wait.
    pub retry_after: Option<Duration>,
    /// Whether to try it again is of no use: the mail server refused the mail.
    pub is_final: bool,
    /// Whether the endpoint asked that it is not sent again, or there is nobody that a mail could be sent to.
    pub is_aborted: bool,
    /// Whether a replay has sent what was over before, delivered or given up: its attempts are counted from 1 again.
    pub begins_anew: bool,
    /// The replay that has asked for it, also if this attempt was a retry of that of the replay.
    pub replay: Option<String>,
    /// The aggregate whose later events wait for it; empty where none do.
    pub key: String,
}

/// How far a replay has got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayProgress {
    /// The replay.
    pub id: String,
    /// The last `endpoint_seq` that it has handled.
    pub through: u64,
    /// How many it has sent.
    pub sent: u64,
}
