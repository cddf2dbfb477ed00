//! Tokens of an external issuer.

use std::path::PathBuf;

use ::gateway::JwtSettings;
use anyhow::{Context, Result, bail};
use clap::Args;

use super::value;

/// Tokens of an external issuer.
#[derive(Debug, Clone, Args)]
pub struct JwtOptions {
    /// The issuer whose tokens (JWT) the gateway takes besides API keys, as their claim `iss` has it
    #[arg(
        id = "jwt_issuer",
        long = "jwt-issuer",
        global = true,
        env = "TRADEWIND_JWT_ISSUER",
        value_name = "URL"
    )]
    pub issuer: Option<String>,

    /// Who its tokens must be for: their claim `aud` has it
    #[arg(
        id = "jwt_audience",
        long = "jwt-audience",
        global = true,
        env = "TRADEWIND_JWT_AUDIENCE",
        value_name = "NAME"
    )]
    pub audience: Option<String>,

    /// Where its keys are (JWKS), by HTTPS [default: as its /.well-known/openid-configuration says]
    #[arg(id = "jwt_jwks_url", long = "jwt-jwks-url", global = true, env = "TRADEWIND_JWT_JWKS_URL",
          value_name = "URL", value_parser = value::url)]
    pub jwks_url: Option<String>,

    /// A file of certificates (PEM) of authorities that are trusted there besides those of the system
    #[arg(
        id = "jwt_ca_file",
        long = "jwt-ca-file",
        global = true,
        env = "TRADEWIND_JWT_CA_FILE",
        value_name = "FILE"
    )]
    pub ca_file: Option<PathBuf>,

    /// The claim with the scopes
    #[arg(
        id = "jwt_scope_claim",
        long = "jwt-scope-claim",
        global = true,
        env = "TRADEWIND_JWT_SCOPE_CLAIM",
        value_name = "NAME",
        default_value = "scope"
    )]
    pub scope_claim: String,

    /// The claim with the shop, or a list of shops; `*` for all
    #[arg(
        id = "jwt_shop_claim",
        long = "jwt-shop-claim",
        global = true,
        env = "TRADEWIND_JWT_SHOP_CLAIM",
        value_name = "NAME",
        default_value = "shop"
    )]
    pub shop_claim: String,
}

impl Default for JwtOptions {
    fn default() -> Self {
        Self {
            issuer: None,
            audience: None,
            jwks_url: None,
            ca_file: None,
            scope_claim: "scope".to_owned(),
            shop_claim: "shop".to_owned(),
        }
    }
}

impl JwtOptions {
    /// Whose tokens are taken; `None`: nobody's.
    ///
    /// # Errors
    ///
    /// When there is an issuer and no audience, or the other way round, or the URL of its keys is none.
    pub fn read(&self) -> Result<Option<JwtSettings>> {
        let (issuer, audience) = match (&self.issuer, &self.audience) {
            (Some(issuer), Some(audience)) => (issuer.clone(), audience.clone()),
            (None, None) if self.jwks_url.is_none() => return Ok(None),
            _ => bail!("jwt-issuer and jwt-audience go together: set both of them"),
        };
        let jwks_url = self.jwks_url.as_ref().map(|url| url.parse()).transpose();
        Ok(Some(JwtSettings {
            issuer,
            audience,
            jwks_url: jwks_url.context("read jwt-jwks-url")?,
            ca_file: self.ca_file.clone(),
            scope_claim: self.scope_claim.clone(),
            shop_claim: self.shop_claim.clone(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_and_an_audience_go_together() {
        assert_eq!(JwtOptions::default().read().expect("is good"), None);
        let text = |text: &str| Some(text.to_owned());
        let both = JwtOptions {
            issuer: text("https://issuer.example"),
            audience: text("shops"),
            ..JwtOptions::default()
        };
        let read = both.read().expect("is good").expect("there is an issuer");
        assert_eq!((read.jwks_url, read.scope_claim.as_str()), (None, "scope"));
        assert!(JwtOptions { audience: None, ..both.clone() }.read().is_err());
        assert!(JwtOptions { issuer: None, ..both }.read().is_err());
        let keys = JwtOptions { jwks_url: text("https://a/keys"), ..JwtOptions::default() };
        assert!(keys.read().is_err());
    }
}
