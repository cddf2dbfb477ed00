//! What an operator does with shops: creates, shows, lists, changes, suspends and resumes them.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use engine::{Client, Clock, CommandState, Engine, Outcome};
use events::{
    answers::CommandAnswer,
    card_numbers::refuse_card_number,
    id::Location,
    money::{Currency, TaxBasis},
    proto::{self, AnswerBody, command::Body, shop},
    questions::Question,
    shop::{Capture, Settings, ShortRule, country, one_step_method, reason, seconds},
};
use node::say;
use prost::Message;
use protocol::{
    actor::{ActorKind, COMMAND_LINE},
    command::OutgoingCommand,
    id::{Shop, fingerprint},
    subject::Lane,
};
use uuid::Uuid;

/// How long the answer to a command is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// What a setting says that is not limited, or left to the installation.
const NONE: &str = "any";
const DEFAULT: &str = "default";
/// What the payment methods in one step are when there are none.
const NO_METHODS: &str = "none";

/// What is done with shops.
#[derive(Debug, Subcommand)]
pub(crate) enum Shops {
    /// Create a shop
    Create {
        /// Its name: lower-case letters, digits and hyphens
        #[arg(value_parser = Shop::parse)]
        shop: Shop,
        #[command(flatten)]
        settings: SettingsOptions,
    },
    /// Show a shop with its settings
    Show {
        /// Its name
        #[arg(value_parser = Shop::parse)]
        shop: Shop,
    },
    /// List all shops
    List,
    /// Change settings of a shop; those that are not given stay as they are
    Change {
        /// Its name
        #[arg(value_parser = Shop::parse)]
        shop: Shop,
        #[command(flatten)]
        settings: SettingsOptions,
    },
    /// Let a shop take no requests; what has begun goes on
    Suspend {
        /// Its name
        #[arg(value_parser = Shop::parse)]
        shop: Shop,
        /// Why, for those who read the log later
        #[arg(long, default_value = "", value_parser = reason)]
        reason: String,
    },
    /// Let a suspended shop take requests again
    Resume {
        /// Its name
        #[arg(value_parser = Shop::parse)]
        shop: Shop,
        /// Why, for those who read the log later
        #[arg(long, default_value = "", value_parser = reason)]
        reason: String,
    },
}

/// The settings of a shop.
#[derive(Debug, Default, Args)]
pub(crate) struct SettingsOptions {
    /// The currency of its orders, such as GBP; `any` for no limit
    #[arg(long, value_parser = currency)]
    currency: Option<Choice<Currency>>,
    /// The countries that it sells to, separated by commas, as its orders name them; `any` for no limit
    #[arg(long)]
    countries: Option<String>,
    /// Whether its prices include tax
    #[arg(long)]
    tax: Option<TaxOption>,
    /// When the money of an order is captured
    #[arg(long)]
    capture: Option<CaptureOption>,
    /// Whether an order may be served from several locations, and ship in parts
    #[arg(long, value_name = "BOOL")]
    split_shipments: Option<bool>,
    /// How long stock is held for an order that is not yet paid for; `default`: as the installation says
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    hold: Option<Choice<u32>>,
    /// How long the payment of an order may take; `default`: as the installation says
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    payment: Option<Choice<u32>>,
    /// The location of stock lines that name none
    #[arg(long, value_parser = Location::parse)]
    default_location: Option<Location>,
    /// What becomes of the newest orders that cannot be served when stock is short
    #[arg(long)]
    short: Option<ShortOption>,
    /// Whether orders may be placed on account
    #[arg(long, value_name = "BOOL")]
    on_account: Option<bool>,
    /// The payment methods that are taken in one step, separated by commas, each by how it begins; `none` for
    /// none
    #[arg(long, value_name = "METHODS")]
    one_step_methods: Option<String>,
}

/// A setting that can be taken away.
#[derive(Debug, Clone, Copy)]
struct Choice<T>(Option<T>);

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TaxOption {
    Included,
    Excluded,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CaptureOption {
    OnConfirmation,
    OnShipment,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ShortOption {
    /// Put on hold, until they are released or cancelled
    Hold,
    /// Cancelled
    Cancel,
    /// Nothing
    Nothing,
}

fn currency(text: &str) -> Result<Choice<Currency>, String> {
    match text {
        NONE => Ok(Choice(None)),
        code => Currency::parse_current(code)
            .map(|code| Choice(Some(code)))
            .map_err(|it| it.to_string()),
    }
}

fn duration(text: &str) -> Result<Choice<u32>, String> {
    if text == DEFAULT {
        return Ok(Choice(None));
    }
    let wanted = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let wanted = u32::try_from(wanted.as_secs()).unwrap_or(u32::MAX);
    seconds(wanted).map(|it| Choice(Some(it))).map_err(|error| error.to_string())
}

impl SettingsOptions {
    /// The settings with what is given.
    fn apply(&self, mut settings: Settings) -> Result<Settings> {
        if let Some(Choice(currency)) = self.currency {
            settings.currency = currency;
        }
        if let Some(countries) = &self.countries {
            settings.countries = match countries.as_str() {
                NONE => Vec::new(),
                named => named.split(',').map(|it| country(it.trim())).collect::<Result<_, _>>()?,
            };
        }
        settings.tax_basis = match self.tax {
            None => settings.tax_basis,
            Some(TaxOption::Included) => TaxBasis::Included,
            Some(TaxOption::Excluded) => TaxBasis::Excluded,
        };
        settings.capture = match self.capture {
            None => settings.capture,
            Some(CaptureOption::OnConfirmation) => Capture::OnConfirmation,
            Some(CaptureOption::OnShipment) => Capture::OnShipment,
        };
        settings.short_rule = match self.short {
            None => settings.short_rule,
            Some(ShortOption::Hold) => ShortRule::Hold,
            Some(ShortOption::Cancel) => ShortRule::Cancel,
            Some(ShortOption::Nothing) => ShortRule::Nothing,
        };
        if let Some(Choice(hold)) = self.hold {
            settings.hold_seconds = hold;
        }
        if let Some(Choice(payment)) = self.payment {
            settings.payment_seconds = payment;
        }
        if let Some(location) = &self.default_location {
            settings.default_location = location.clone();
        }
        settings.split_shipments = self.split_shipments.unwrap_or(settings.split_shipments);
        settings.on_account = self.on_account.unwrap_or(settings.on_account);
        if let Some(methods) = &self.one_step_methods {
            settings.one_step_methods = match methods.as_str() {
                NO_METHODS => Vec::new(),
                named => {
                    let begins = named.split(',').map(|it| one_step_method(it.trim()));
                    begins.collect::<Result<_, _>>()?
                }
            };
        }
        // Sorted and limited as everywhere.
        Ok(Settings::parse(Some(&settings.into()))?)
    }
}

/// `tradewind shops …`.
pub(crate) async fn print_shops(settings: &node::settings::Settings, what: &Shops) -> Result<()> {
    let engine = Engine::connect_only(settings.engine()).await?;
    let client = engine.client();
    match what {
        Shops::Create { shop, settings } => {
            let settings = Some(settings.apply(Settings::default())?.into());
            let body = Body::CreateShop(shop::CreateShop { settings });
            let answer: shop::CreateShopAnswer = send(&client, shop, body).await?;
            match answer.result() {
                shop::ShopResult::Exists => bail!(
                    "there is a shop {shop} with other settings; `tradewind shops change {shop}` \
                     changes them"
                ),
                result => print_result(shop, result, answer.shop),
            }
        }
        Shops::Show { shop } => {
            let found = find(&client, shop).await?;
            say!("{}", serde_json::to_string_pretty(&document(found)?)?);
            Ok(())
        }
        Shops::List => list(&client).await,
        Shops::Change { shop, settings } => {
            let known = find(&client, shop).await?;
            let before = Settings::read(&known.settings.unwrap_or_default())?;
            let change = shop::ChangeShop {
                settings: Some(settings.apply(before)?.into()),
                expected_version: Some(known.version),
            };
            let body = Body::ChangeShop(change);
            let answer: shop::ChangeShopAnswer = send(&client, shop, body).await?;
            match answer.result() {
                shop::ShopResult::OtherVersion => {
                    bail!("the shop {shop} was changed meanwhile: run the command again")
                }
                result => print_result(shop, result, answer.shop),
            }
        }
        Shops::Suspend { shop, reason } => {
            refuse_card_number("--reason", reason)?;
            let suspend = shop::SuspendShop { reason: given(reason), expected_version: None };
            let body = Body::SuspendShop(suspend);
            let answer: shop::SuspendShopAnswer = send(&client, shop, body).await?;
            print_result(shop, answer.result(), answer.shop)
        }
        Shops::Resume { shop, reason } => {
            refuse_card_number("--reason", reason)?;
            let resume = shop::ResumeShop { reason: given(reason), expected_version: None };
            let body = Body::ResumeShop(resume);
            let answer: shop::ResumeShopAnswer = send(&client, shop, body).await?;
            print_result(shop, answer.result(), answer.shop)
        }
    }
}

/// A text, where it is given.
fn given(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

fn print_result(name: &Shop, result: shop::ShopResult, found: Option<shop::Shop>) -> Result<()> {
    let Some(found) = found else { bail!(unknown(name)) };
    let done = match result {
        shop::ShopResult::Created => "created",
        shop::ShopResult::Changed if found.suspended => "changed, suspended",
        shop::ShopResult::Changed => "changed",
        shop::ShopResult::Unchanged => "as it was",
        other => bail!("the shop service answered {}", other.as_str_name()),
    };
    say!("{name}: {done}, version {}", found.version);
    Ok(())
}

/// Prints all shops by their names.
async fn list(client: &Client) -> Result<()> {
    let mut shops = all_shops(client).await?;
    shops.sort_by(|a, b| a.name.cmp(&b.name));
    for shop in &shops {
        let state = if shop.suspended { "suspended" } else { "active" };
        let currency = shop.settings.as_ref().and_then(|settings| settings.currency.as_deref());
        say!(
            "{:<24} {state:<9} {:<3} version {}",
            shop.name,
            currency.unwrap_or("any"),
            shop.version
        );
    }
    say!("{} shops", shops.len());
    Ok(())
}

async fn find(client: &Client, name: &Shop) -> Result<shop::Shop> {
    let question = shop::GetShop {}.encode();
    let found = client.query(shop::GetShop::SERVICE, name, question, 0).await?;
    match found {
        Some(found) => Ok(shop::Shop::decode(found)?),
        None => bail!(unknown(name)),
    }
}

fn unknown(name: &Shop) -> String {
    format!("there is no shop {name}; `tradewind shops list` shows those there are")
}

/// The shop as the HTTP API shows it.
fn document(found: shop::Shop) -> Result<serde_json::Value> {
    let settings = Settings::read(&found.settings.unwrap_or_default())?;
    Ok(serde_json::json!({
        "name": found.name,
        "suspended": found.suspended,
        "settings": settings,
        "version": found.version,
    }))
}

/// All shops, partition by partition, in the order of their names in each.
pub(crate) async fn all_shops(client: &Client) -> Result<Vec<shop::Shop>> {
    let mut shops = Vec::new();
    for partition in 0..client.partitions() {
        let mut after = String::new();
        loop {
            let question = shop::ListShops { partition, after: after.clone(), limit: 0 };
            let found = client
                .query_partition(shop::ListShops::SERVICE, partition, question.encode(), 0)
                .await?;
            let page = shop::Shops::decode(found.unwrap_or_default())?;
            after = page.shops.last().map(|shop| shop.name.clone()).unwrap_or_default();
            let has_more = page.has_more && !after.is_empty();
            shops.extend(page.shops);
            if !has_more {
                break;
            }
        }
    }
    Ok(shops)
}

/// Sends a command of an operator to a shop and waits for its answer.
#[expect(clippy::disallowed_methods, reason = "the edge: the command gets its id and time here")]
pub(crate) async fn send<A: CommandAnswer>(client: &Client, name: &Shop, body: Body) -> Result<A> {
    let content = proto::Command { body: Some(body), ..Default::default() };
    let command = proto::Command {
        id: Uuid::now_v7().to_string(),
        shop: name.to_string(),
        time: Some(Clock::system().now().into()),
        fingerprint: fingerprint(&content.encode_to_vec()),
        actor: Some(ActorKind::Operator.actor(COMMAND_LINE)),
        ..content
    };
    let command = OutgoingCommand::try_from(command)?;
    let (service, id) = (command.service, command.envelope.id.clone());
    match client.send(Lane::Live, command, ANSWER_TIMEOUT).await? {
        Outcome::Answered(answered) => {
            let body = AnswerBody::decode(&*answered.body)?.answer;
            body.and_then(A::take).context("read the answer of the service")
        }
        Outcome::Pending => match client.command_state(service, name, &id, 0).await {
            Ok(Some(CommandState::Parked { reason })) => bail!(
                "the command is parked: {reason}; `tradewind parked list` shows what is, and \
                 `tradewind parked redrive` handles it again"
            ),
            Ok(Some(CommandState::Dropped { reason })) => {
                bail!("an operator dropped the command: {reason}; nothing has changed")
            }
            _ => bail!(
                "the service does not answer; the command is stored and will be handled: see \
                 whether the service runs"
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_stays_as_it_is() {
        let before = Settings {
            currency: Currency::parse("GBP").ok(),
            countries: vec!["DE".into()],
            hold_seconds: Some(60),
            split_shipments: true,
            one_step_methods: vec!["ideal".into()],
            ..Settings::default()
        };
        let none = SettingsOptions::default();
        assert_eq!(none.apply(before.clone()).expect("is valid"), before);
        let cleared = SettingsOptions {
            currency: Some(currency(NONE).expect("is valid")),
            countries: Some(NONE.to_owned()),
            hold: Some(duration(DEFAULT).expect("is valid")),
            split_shipments: Some(false),
            one_step_methods: Some(NO_METHODS.to_owned()),
            ..SettingsOptions::default()
        };
        assert_eq!(cleared.apply(before).expect("is valid"), Settings::default());
    }

    #[test]
    fn every_option_changes_its_setting() {
        let options = SettingsOptions {
            currency: Some(currency("EUR").expect("is valid")),
            countries: Some("FR, DE".into()),
            tax: Some(TaxOption::Excluded),
            capture: Some(CaptureOption::OnShipment),
            split_shipments: Some(true),
            hold: Some(duration("10m").expect("is valid")),
            payment: Some(duration("1m").expect("is valid")),
            default_location: Location::parse("berlin").ok(),
            short: Some(ShortOption::Cancel),
            on_account: Some(true),
            one_step_methods: Some("sofort, ideal".into()),
        };
        let expected = Settings {
            currency: Currency::parse("EUR").ok(),
            countries: vec!["DE".into(), "FR".into()],
            tax_basis: TaxBasis::Excluded,
            capture: Capture::OnShipment,
            split_shipments: true,
            hold_seconds: Some(600),
            payment_seconds: Some(60),
            default_location: Location::parse("berlin").expect("valid"),
            short_rule: ShortRule::Cancel,
            on_account: true,
            one_step_methods: vec!["ideal".into(), "sofort".into()],
        };
        assert_eq!(options.apply(Settings::default()).expect("is valid"), expected);
        assert!(duration("0s").is_err() && duration("31d").is_err() && duration("soon").is_err());
        assert!(currency("gbp").is_err());
    }
}
