//! What an operator does with the personal data of customers: erases it, and changes the master key.

mod rewrap;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use events::id::{CustomerId, OrderId};
use node::{say, settings::Settings};
use person_keys::{Person, PersonKeys};
use protocol::{id::Shop, time::Timestamp};

/// What is done with personal data.
#[derive(Debug, Subcommand)]
pub(crate) enum Persons {
    /// Erase the personal data of a customer, or of the guest who placed an order: for good, in all
    /// logs, databases and backups of them
    Erase {
        /// The shop
        #[arg(value_parser = Shop::parse)]
        shop: Shop,
        /// The customer, by the id that the orders carry
        #[arg(value_parser = CustomerId::parse, required_unless_present = "order",
              conflicts_with = "order")]
        customer: Option<CustomerId>,
        /// The order of a guest, in place of a customer
        #[arg(long, value_parser = OrderId::parse)]
        order: Option<OrderId>,
        /// Who does this, for the list of erasures
        #[arg(long, env = "USER", default_value = "unknown")]
        operator: String,
    },
    /// List what was erased, when and by whom
    Erasures {
        /// The shop; all when none is named
        #[arg(long, value_parser = Shop::parse)]
        shop: Option<Shop>,
    },
    /// Encrypt the keys of all persons, and the secrets and header values of webhook endpoints, with the
    /// first master key of the file; then the others can be removed from it
    RotateMasterKey,
}

/// `tradewind persons …`.
#[expect(clippy::disallowed_methods, reason = "an operator's command begins now")]
pub(crate) async fn run(settings: &Settings, what: &Persons) -> Result<()> {
    let keys = settings.person_keys().context("prepare the keys of persons")?;
    let Some(keys) = keys else {
        bail!("this installation has no keys of persons: person-keys is not set");
    };
    match what {
        Persons::Erase { shop, customer, order, operator } => {
            let person = match (customer, order) {
                (Some(customer), _) => Person::customer(customer),
                (None, Some(order)) => Person::guest(order),
                (None, None) => bail!("name a customer, or --order"),
            };
            erase(&keys, shop, &person, operator, Timestamp::now()).await
        }
        Persons::Erasures { shop } => {
            let erasures = keys.erasures(shop.as_ref()).await?;
            for it in &erasures {
                let person = it.person.replacen('/', " ", 1);
                say!(
                    "{}  {}  {person}  key {}  by {}",
                    it.erased_at,
                    it.shop,
                    it.key_id,
                    it.operator
                );
            }
            say!("{} erasures", erasures.len());
            Ok(())
        }
        Persons::RotateMasterKey => {
            let count = keys.rewrap().await?;
            say!("{count} keys encrypted with the first master key of the file");
            let masters = settings.master_keys()?.context("read the master keys")?;
            let values = rewrap::rewrap_values(settings, &masters).await;
            let values = values.context(
                "encrypt the secrets and header values of webhook endpoints: not all of them are, so \
                 keep the old master keys, and run the command again",
            )?;
            say!(
                "{values} values of webhook endpoints encrypted with the first master key of the file"
            );
            Ok(())
        }
    }
}

async fn erase(
    keys: &PersonKeys,
    shop: &Shop,
    person: &Person,
    operator: &str,
    now: Timestamp,
) -> Result<()> {
    if keys.erase(shop, person, operator, now).await? {
        say!("erased: nobody can read the personal data of {person} any more");
        return Ok(());
    }
    match keys.last_erasure(shop, person).await? {
        Some(at) => say!("nothing to erase: {person} was erased at {at}, and has no key since"),
        None => say!(
            "nothing to erase: {person} has no key in {shop}; the personal data of an order with a \
             customer_id is that of the customer, of any other order that of its guest"
        ),
    }
    Ok(())
}
