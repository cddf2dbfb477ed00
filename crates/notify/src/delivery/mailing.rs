//! A delivery as a mail to the customer of an order.
//!
//! The address is sealed with the key of the customer. It is asked for and opened here, while the mail is
//! sent, and goes nowhere else: not to the log, the database, the record of the attempt or the traces.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use mail::{Mail, Mailer, Template, built_in};
use person_keys::PersonKeys;
use tokio::task::spawn_blocking;

use super::{Delivery, DeliveryContext, reply::Reply, sent::RequestRecord};
use crate::{
    domain::endpoint::{MailSettings, MailTemplate},
    wire::mail::{MailEvent, MailOrder, Recipient},
};

/// What the mails of a shop are sent with.
pub(super) struct MailTarget {
    pub(super) settings: MailSettings,
    pub(super) mailer: Mailer,
    pub(super) keys: PersonKeys,
}

impl MailTarget {
    /// Sends the mail of an event.
    pub(super) async fn send(
        &self,
        outside: &DeliveryContext,
        delivery: &Delivery,
        made: &mut RequestRecord,
    ) -> Reply {
        let event = match MailEvent::read(&delivery.event) {
            Ok(event) => event,
            Err(error) => {
                tracing::error!(%error, service = &*delivery.service, "there is no mail of an event");
                return Reply::unsent("event_unreadable");
            }
        };
        made.traceparent.clone_from(&event.traceparent);
        match self.compose(outside, delivery, &event).await {
            Ok(mail) => {
                made.message_id = mail.message_id();
                self.mailer.send(&mail).await.into()
            }
            Err(reply) => reply,
        }
    }

    async fn compose(
        &self,
        outside: &DeliveryContext,
        delivery: &Delivery,
        event: &MailEvent,
    ) -> Result<Mail, Reply> {
        let (service, question) = event.question();
        let found = outside.client.query(service, &delivery.shop, question, event.position).await;
        let found = found.map_err(|error| {
            tracing::warn!(event.id = event.id, %error, "the order of a mail cannot be read yet");
            Reply::unsent("order_unavailable")
        })?;
        let order = MailOrder::read(&found.unwrap_or_default()).map_err(|error| {
            tracing::error!(event.id = event.id, %error, "the order of a mail does not read");
            Reply::unsent("order_unavailable")
        })?;
        let recipient = self.recipient(delivery, event, &order).await?;
        let mut shown = event.context(&order, &recipient);
        shown.sender.clone_from(&self.settings.sender_name);
        shown.language.clone_from(&self.settings.language);
        let wrong = |error: &dyn fmt::Display| {
            tracing::error!(event.id = event.id, %error, "the template of a mail does not render");
            Reply { is_final: true, ..Reply::unsent("template") }
        };
        let template = self.template(&event.event_type).map_err(|error| wrong(&error))?;
        // It may take a second: longer than a thread of the runtime may be held.
        let rendering = spawn_blocking(move || template.render(&shown)).await;
        let content = rendering.map_err(|error| wrong(&error))?.map_err(|error| wrong(&error))?;
        let id = match &delivery.asked_by {
            // Asked for again, it is another mail, also when it is not accepted at once: many receivers drop one whose
            // id they have seen.
            Some(replay) => format!("{}.{replay}", event.id),
            None => event.id.clone(),
        };
        let MailSettings { sender_name, sender_address, language, .. } = self.settings.clone();
        let since = Duration::from_millis(event.time.millis().max(0) as u64);
        let date = SystemTime::UNIX_EPOCH + since;
        let to = recipient.address;
        Ok(Mail { sender_name, sender_address, to, id, date, language, content })
    }

    /// Whom the mail goes to; the reply when it goes to nobody.
    async fn recipient(
        &self,
        delivery: &Delivery,
        event: &MailEvent,
        order: &MailOrder,
    ) -> Result<Recipient, Reply> {
        let sealed = order.personal().ok_or_else(|| Reply::unaddressed("no_recipient"))?;
        let opened = self.keys.open(&delivery.shop, &event.sealing_context(), &sealed).await;
        let opened = opened.map_err(|error| {
            tracing::error!(event.id = event.id, %error, "the receiver of a mail cannot be opened");
            Reply::unsent("keys_unavailable")
        })?;
        let opened = opened.ok_or_else(|| Reply::unaddressed("recipient_erased"))?;
        let recipient = Recipient::read(&opened).map_err(|error| {
            tracing::error!(event.id = event.id, %error, "the receiver of a mail does not read");
            Reply::unsent("keys_unavailable")
        })?;
        if recipient.address.is_empty() {
            return Err(Reply::unaddressed("no_recipient"));
        }
        Ok(recipient)
    }

    /// The shop's own template of that type of events, or the built-in one.
    fn template(&self, event_type: &str) -> Result<Template, mail::TemplateError> {
        let own = self.settings.templates.iter().find(|it| it.event_type == event_type);
        match own.cloned() {
            Some(MailTemplate { subject, text, html, .. }) => Ok(Template { subject, text, html }),
            None => built_in(event_type),
        }
    }
}
