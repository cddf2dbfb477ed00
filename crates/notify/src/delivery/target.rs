//! Where the deliveries of an endpoint go, opened from what is sealed.

use std::{sync::Arc, time::Duration};

use events::webhooks::sealing_context;
use protocol::time::Timestamp;
use webhook_http::{CustomHeaders, Failure, Request, Secret, WebhookUrl, parse_url};

use super::{
    Delivery, DeliveryContext, Sending, mailing::MailTarget, reply::Reply, sent::RequestRecord,
};
use crate::{
    domain::{SealedValue, endpoint::MailSettings},
    metrics,
    wire::rendering::render,
};

/// Where the deliveries of an endpoint go.
pub(super) enum Target {
    /// To its URL.
    Webhook(WebhookTarget),
    /// To the customers of orders.
    Mail(MailTarget),
}

/// Where webhooks go, and what they are signed with.
pub(super) struct WebhookTarget {
    /// The URL, and the endpoint's own headers; absent where they may not be sent to or with any more.
    request: Option<(WebhookUrl, CustomHeaders)>,
    secrets: Vec<Secret>,
    header_names: Arc<[String]>,
}

/// An endpoint cannot be sent to as it is configured.
#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    #[error("there are no master keys: set person-keys and master-key-file")]
    NoKeys,
    #[error("a sealed value does not open: its key is not configured, or it was changed")]
    Sealed,
    #[error("a secret is none")]
    Secret(#[from] webhook_http::SecretError),
    #[error("there is no mail server: set smtp-host")]
    NoMailServer,
}

impl Target {
    /// Makes one attempt.
    pub(super) async fn send(
        &self,
        outside: &DeliveryContext,
        delivery: &Delivery,
        made: &mut RequestRecord,
    ) -> Reply {
        match self {
            Self::Webhook(target) => {
                let _slot = outside.slots.take(&delivery.shop, !delivery.is_first()).await;
                let Delivery { shop, endpoint_id, seq, .. } = delivery;
                let _under_way = outside.under_way.begin(shop, endpoint_id, *seq);
                made.at = outside.clock.now();
                let reply = target.send(outside, delivery, made).await;
                metrics::attempted(reply.error, reply.latency);
                reply
            }
            Self::Mail(target) => {
                let reply = target.send(outside, delivery, made).await;
                metrics::mailed(reply.error, reply.latency);
                reply
            }
        }
    }
}

impl WebhookTarget {
    async fn send(
        &self,
        outside: &DeliveryContext,
        delivery: &Delivery,
        made: &mut RequestRecord,
    ) -> Reply {
        let Some((url, headers)) = &self.request else {
            return Reply::unsent(Failure::Refused.as_str());
        };
        made.own_headers = self.header_names.clone();
        let Delivery { service, event, seq, rendering, .. } = delivery;
        let message = match render(service, event, *seq, *rendering) {
            Ok(message) => message,
            Err(error) => {
                let service = &**service;
                tracing::error!(%error, service, "an event cannot be delivered");
                return Reply::unsent("event_unreadable");
            }
        };
        if let Some(time) = message.time.filter(|_| delivery.is_first()) {
            let lag = outside.clock.now().millis().saturating_sub(time.millis()).max(0);
            metrics::first_attempt(Duration::from_millis(lag as u64));
        }
        let traceparent = Some(&*message.traceparent).filter(|it| !it.is_empty());
        let request = Request {
            url,
            headers,
            secrets: &self.secrets,
            id: &message.id,
            timestamp: made.at.millis() / 1_000,
            attempt: made.number,
            traceparent,
            body: message.body,
            replay: delivery.asked_by.is_some(),
        };
        let exchange = outside.sender.send(request).await;
        (made.message_id, made.traceparent) = (message.id, message.traceparent);
        exchange.into()
    }
}

impl Sending<'_> {
    /// Where the deliveries go, opened once for each revision of the endpoint.
    pub(super) fn target(&mut self, now: Timestamp) -> Result<Arc<Target>, TargetError> {
        let revision = self.endpoint.settings_version;
        if let Some((of, target)) = &self.target
            && *of == revision
        {
            return Ok(target.clone());
        }
        let target = Arc::new(match self.endpoint.settings.mail.clone() {
            Some(settings) => Target::Mail(self.mail_target(settings)?),
            None => Target::Webhook(self.webhook_target(now)?),
        });
        self.outside.lanes.note(&self.operation.shop, &self.id, None);
        self.target = Some((revision, target.clone()));
        Ok(target)
    }

    fn mail_target(&self, settings: MailSettings) -> Result<MailTarget, TargetError> {
        let mailer = self.outside.mailer.clone().ok_or(TargetError::NoMailServer)?;
        let keys = self.outside.keys.clone().ok_or(TargetError::NoKeys)?;
        Ok(MailTarget { settings, mailer, keys })
    }

    fn webhook_target(&self, now: Timestamp) -> Result<WebhookTarget, TargetError> {
        let context = sealing_context(&self.operation.shop, &self.id);
        let open = |value: &SealedValue| {
            let keys = self.outside.keys.as_ref().ok_or(TargetError::NoKeys)?.masters();
            let opened = keys.open_value(&value.key_name, &context, &value.ciphertext);
            let opened = opened.as_deref().and_then(|text| std::str::from_utf8(text).ok());
            opened.map(str::to_owned).ok_or(TargetError::Sealed)
        };
        let settings = &self.endpoint.settings;
        let headers = settings
            .headers
            .iter()
            .map(|header| Ok::<_, TargetError>((header.name.clone(), open(&header.value)?)));
        let headers = headers.collect::<Result<Vec<_>, _>>()?;
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let secrets = self
            .endpoint
            .signing(now)
            .map(|secret| Ok::<_, TargetError>(Secret::parse(&open(secret)?)?));
        let url = parse_url(&settings.url, &self.outside.policy);
        let url = url.map_err(|error| self.warn_of_refusal(&error));
        let headers = CustomHeaders::parse(headers).map_err(|error| self.warn_of_refusal(&error));
        Ok(WebhookTarget {
            request: url.ok().zip(headers.ok()),
            secrets: secrets.collect::<Result<_, _>>()?,
            header_names: settings.headers.iter().map(|header| header.name.clone()).collect(),
        })
    }

    /// What was allowed when the endpoint was made may not be so any more: each attempt says that it is refused.
    fn warn_of_refusal(&self, error: &dyn std::error::Error) {
        tracing::warn!(endpoint.id = self.id, %error, "sends nothing to an endpoint");
    }
}
