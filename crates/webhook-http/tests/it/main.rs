//! The sender against receivers that misbehave, with real sockets, TLS and a real name server.

mod answers;
mod connections;
mod failures;
mod hosts;
mod rig;
mod tls;
