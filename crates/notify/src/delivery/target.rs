//! Where the deliveries of an endpoint go, opened from what is sealed.

use std::sync::Arc;

use events::webhooks::sealing_context;
use protocol::time::Timestamp;
use webhook_http::{CustomHeaders, Secret, WebhookUrl, parse_url};

use super::Sending;
use crate::domain::{SealedValue, endpoint::Payload};

/// Where the deliveries of an endpoint go, and what they are signed with.
pub(super) struct Target {
    pub(super) url: WebhookUrl,
    pub(super) headers: CustomHeaders,
    pub(super) secrets: Vec<Secret>,
    pub(super) payload: Payload,
    pub(super) header_names: Arc<[String]>,
}

/// An endpoint cannot be sent to as it is configured.
#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    #[error("its URL is not allowed")]
    Url(#[from] webhook_http::UrlError),
    #[error("its headers are not allowed")]
    Headers(#[from] webhook_http::HeaderError),
    #[error("there are no master keys: set person-keys and master-key-file")]
    NoKeys,
    #[error("a sealed value does not open: its key is not configured, or it was changed")]
    Sealed,
    #[error("a secret is none")]
    Secret(#[from] webhook_http::SecretError),
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
        let context = sealing_context(&self.operation.shop, &self.id);
        let open = |value: &SealedValue| {
            let keys = self.outside.keys.as_ref().ok_or(TargetError::NoKeys)?;
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
        let target = Arc::new(Target {
            url: parse_url(&settings.url, &self.outside.policy)?,
            headers: CustomHeaders::parse(headers)?,
            secrets: secrets.collect::<Result<_, _>>()?,
            payload: settings.payload,
            header_names: settings.headers.iter().map(|header| header.name.clone()).collect(),
        });
        self.outside.lanes.note(&self.operation.shop, &self.id, None);
        self.target = Some((revision, target.clone()));
        Ok(target)
    }
}
