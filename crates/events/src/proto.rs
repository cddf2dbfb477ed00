//! The messages generated from `proto/`; their documentation is the comments there.

/// `package tradewind`.
#[expect(unreachable_pub, clippy::pedantic, reason = "generated from proto/")]
mod tradewind {
    pub mod events {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/tradewind.events.v1.rs"));
        }
    }
    pub mod commands {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/tradewind.commands.v1.rs"));
        }
    }
}

pub use tradewind::{commands::v1::*, events::v1::*};

/// The compiled `proto/` folder, an encoded `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));
