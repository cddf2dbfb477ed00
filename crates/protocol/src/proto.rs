//! The messages generated from `proto/tradewind/engine`; their documentation is the comments there.

#[expect(clippy::pedantic, reason = "generated from proto/")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/tradewind.engine.v1.rs"));
}

pub use generated::*;

impl engine_event::Kind {
    /// The name of the event: the last token of its subject.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
            Self::Parked(_) => "parked",
            Self::Redriven(_) => "redriven",
            Self::Positions(_) => "positions",
            Self::Voided(_) => "voided",
            Self::AnswersForgotten(_) => "answers_forgotten",
            Self::PositionReset(_) => "position_reset",
            Self::Dropped(_) => "dropped",
        }
    }
}
