//! The sending end of mails: templates, and one attempt of one mail, over SMTP.
//!
//! It knows nothing of events, shops, schedules or retries: those are its caller's. Nor does it log: what
//! it handles is personal.
//!
//! | module | what it does |
//! |---|---|
//! | `server` | [`Server`]: how the mail server is reached |
//! | `mailer` | [`Mailer`]: one attempt, over a connection that is kept |
//! | `exchange` | [`Exchange`]: what came of it, and how a reply is classified |
//! | `message` | [`Mail`]: a mail with a text and an HTML part |
//! | `template` | [`Template`]: what the mail of an event looks like, and [`Context`]: what it can show |
//!
//! # One attempt
//!
//! 1. At most [`MAX_IN_FLIGHT`] attempts of a process are under way; the others wait in turn.
//! 2. A connection that was used a moment ago is asked whether it still is one; else there is a new one:
//!    resolved, connected, encrypted, logged in, within [`Timeouts::connect`]. Whatever fails there says
//!    nothing of the mail, so it is tried again, even where the server says 5xx.
//! 3. `MAIL`, `RCPT`, `DATA` and the message, each within [`Timeouts::command`], and all of it within
//!    [`Timeouts::exchange`]. A reply of 4xx [fails](Outcome::Failed) for now, 5xx [for good](Outcome::Rejected).
//!
//! When the reply to the message does not come, the server may have accepted it: the next attempt then is a
//! second mail, with the same `Message-ID`.

mod exchange;
mod mailer;
mod message;
mod server;
mod template;

pub use self::{
    exchange::{Exchange, Failure, Outcome},
    mailer::{MAX_IN_FLIGHT, Mailer},
    message::{Mail, MailError, is_address},
    server::{Login, Server, SetupError, Timeouts, Tls},
    template::{
        Cancellation, Context, Customer, EVENT_TYPES, Line, MAX_TEMPLATE_BYTES, Order, Refund,
        Rendered, Template, TemplateError, built_in,
    },
};
