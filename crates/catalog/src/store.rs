//! All SQL of the catalogue: loading and saving in bulk, and the queries.

use std::collections::{BTreeSet, HashMap};

use engine::{Rows, StoreError};
use events::{
    id::{Shop, Sku},
    money::{Currency, Money},
    view::ProductView,
};
use serde_json::json;
use sqlx::{AnyConnection, AnyPool, Row as _, any::AnyRow, migrate::Migrator};

use crate::domain::{Product, Row};

/// The tables of the projection.
pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!();

/// Fetches the named products of each shop.
pub(crate) async fn load(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, BTreeSet<Sku>>,
) -> Result<HashMap<Shop, Rows<Sku, Row>>, StoreError> {
    let named: Vec<_> =
        keys.iter().flat_map(|(shop, skus)| skus.iter().map(move |sku| (shop, sku))).collect();
    let rows = sqlx::query(
        "select product.shop, product.sku, title, price, currency, active, version
         from jsonb_each($1) join product
         on product.shop = value->>0 and product.sku = value->>1",
    )
    .bind(serde_json::to_string(&named)?)
    .fetch_all(db)
    .await?;

    let mut states: HashMap<Shop, Rows<Sku, Row>> = HashMap::new();
    for row in &rows {
        let shop = row.try_get::<String, _>("shop")?;
        let shop = Shop::parse(&shop).map_err(|_| corrupt("shop", &shop))?;
        let ProductView { sku, title, price, active, version } = view(row)?;
        let product = Product { title, price, active };
        states.entry(shop).or_default().loaded(sku, Row { product, version });
    }
    Ok(states)
}

/// Writes the changed products of each shop.
pub(crate) async fn save(
    db: &mut AnyConnection,
    states: &HashMap<Shop, Rows<Sku, Row>>,
) -> Result<(), StoreError> {
    let mut changed = Vec::new();
    for (shop, products) in states {
        for (sku, Row { product, version }) in products.changed() {
            let Product { title, price, active } = product;
            let currency = price.currency.as_str();
            let active = i64::from(*active);
            changed.push(json!([shop, sku, title, price.minor, currency, active, version]));
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into product (shop, sku, title, price, currency, active, version)
         select value->>0, value->>1, value->>2, cast(value->>3 as bigint), value->>4,
                cast(value->>5 as bigint), cast(value->>6 as bigint)
         from jsonb_each($1)
         where true
         on conflict (shop, sku) do update set
             title = excluded.title, price = excluded.price, currency = excluded.currency,
             active = excluded.active, version = excluded.version",
    )
    .bind(serde_json::to_string(&changed)?)
    .execute(db)
    .await?;
    Ok(())
}

/// The product of that SKU.
pub(crate) async fn product(
    db: &AnyPool,
    shop: &Shop,
    sku: &Sku,
) -> Result<Option<ProductView>, StoreError> {
    let row = sqlx::query(
        "select sku, title, price, currency, active, version
         from product
         where shop = $1 and sku = $2",
    )
    .bind(shop.as_str())
    .bind(sku.as_str())
    .fetch_optional(db)
    .await?;
    row.as_ref().map(view).transpose()
}

/// At most `limit` products of the shop whose SKU is larger than `after`, by SKU.
pub(crate) async fn products(
    db: &AnyPool,
    shop: &Shop,
    after: &str,
    limit: i64,
) -> Result<Vec<ProductView>, StoreError> {
    let rows = sqlx::query(
        "select sku, title, price, currency, active, version
         from product
         where shop = $1 and sku > $2
         order by sku
         limit $3",
    )
    .bind(shop.as_str())
    .bind(after)
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.iter().map(view).collect()
}

fn view(row: &AnyRow) -> Result<ProductView, StoreError> {
    let sku = row.try_get::<String, _>("sku")?;
    let currency = row.try_get::<String, _>("currency")?;
    Ok(ProductView {
        sku: Sku::parse(&sku).map_err(|_| corrupt("sku", &sku))?,
        title: row.try_get("title")?,
        price: Money {
            minor: row.try_get("price")?,
            currency: Currency::parse(&currency).map_err(|_| corrupt("currency", &currency))?,
        },
        active: row.try_get::<i64, _>("active")? != 0,
        version: row.try_get::<i64, _>("version")? as u64,
    })
}

fn corrupt(column: &'static str, value: &str) -> StoreError {
    StoreError::Corrupt { table: "product", column, value: value.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use sqlx::any::AnyPoolOptions;
    use tempfile::TempDir;

    use super::*;
    use crate::query;

    /// A database of its own, gone when the folder is dropped.
    async fn database() -> (AnyPool, TempDir) {
        sqlx::any::install_default_drivers();
        let folder = tempfile::tempdir().expect("a private folder");
        let url = format!("sqlite:{}?mode=rwc", folder.path().join("catalog.db").display());
        let pool = AnyPoolOptions::new().max_connections(1).connect(&url).await.expect("opens");
        MIGRATIONS.run(&pool).await.expect("migrates");
        (pool, folder)
    }

    fn shop(name: &str) -> Shop {
        Shop::parse(name).expect("valid")
    }

    fn sku(name: &str) -> Sku {
        Sku::parse(name).expect("valid")
    }

    fn row(title: &str, price: i64, active: bool, version: u64) -> Row {
        let currency = Currency::parse("GBP").expect("valid");
        let price = Money { minor: price, currency };
        Row { product: Product { title: title.into(), price, active }, version }
    }

    async fn saved(rows: &[(&str, &str, Row)]) -> (AnyPool, TempDir) {
        let (pool, folder) = database().await;
        let mut states: HashMap<Shop, Rows<Sku, Row>> = HashMap::new();
        for (of, name, row) in rows {
            states.entry(shop(of)).or_default().put(sku(name), row.clone());
        }
        let mut connection = pool.acquire().await.expect("connects");
        save(&mut connection, &states).await.expect("saves");
        drop(connection);
        (pool, folder)
    }

    #[tokio::test]
    async fn what_is_saved_is_loaded_and_a_later_save_replaces_it() {
        let odd = "\"Mug\", \\ with a line\nbreak and é";
        let (pool, _folder) = saved(&[
            ("acme", "A", row(odd, i64::MAX, true, 1)),
            ("acme", "B", row("B", 0, false, 2)),
            ("other", "A", row("Another A", -5, true, 3)),
        ])
        .await;
        let mut db = pool.acquire().await.expect("connects");
        let mut keys = HashMap::new();
        keys.insert(shop("acme"), ["A", "a", "B"].map(sku).into());
        keys.insert(shop("other"), ["A"].map(sku).into());

        let mut states = load(&mut db, &keys).await.expect("loads");
        let acme = states.get_mut(&shop("acme")).expect("has rows");
        assert_eq!(acme.get(&sku("A")), Some(&row(odd, i64::MAX, true, 1)));
        assert_eq!(acme.get(&sku("B")), Some(&row("B", 0, false, 2)));
        assert_eq!(acme.get(&sku("a")), None, "case matters");
        assert_eq!(acme.changed().count(), 0, "what was only loaded has not changed");

        acme.put(sku("B"), row("B2", 7, true, 4));
        save(&mut db, &states).await.expect("saves");
        let states = load(&mut db, &keys).await.expect("loads");
        assert_eq!(states[&shop("acme")].get(&sku("B")), Some(&row("B2", 7, true, 4)));
        let other = states[&shop("other")].get(&sku("A"));
        assert_eq!(other, Some(&row("Another A", -5, true, 3)));
    }

    async fn ask(db: &AnyPool, name: &str, parameters: Value) -> Option<Value> {
        query::answer(db, &shop("acme"), name, parameters).await.expect("answers")
    }

    #[tokio::test]
    async fn questions_are_answered_from_the_shops_own_rows() {
        let (pool, _folder) = saved(&[
            ("acme", "A", row("Mug", 300, true, 1)),
            ("acme", "B", row("Plate", 500, false, 2)),
            ("acme", "C", row("Bowl", 700, true, 1)),
            ("other", "D", row("Not theirs", 1, true, 1)),
        ])
        .await;

        let mug = json!({ "sku": "A", "title": "Mug", "active": true, "version": 1,
                          "price": { "minor": 300, "currency": "GBP" } });
        assert_eq!(ask(&pool, "product", json!({ "sku": "A" })).await, Some(mug));
        assert_eq!(ask(&pool, "product", json!({ "sku": "D" })).await, None);

        let skus = async |parameters: Value| {
            let page = ask(&pool, "products", parameters).await.expect("a list");
            let products: Vec<ProductView> = serde_json::from_value(page).expect("of products");
            products.into_iter().map(|product| product.sku.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(skus(json!({})).await, ["A", "B", "C"]);
        assert_eq!(skus(json!({ "after": "A", "limit": 1 })).await, ["B"]);
        assert_eq!(skus(json!({ "after": "C", "limit": 100 })).await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_question_that_is_not_one_is_refused_by_name() {
        let (pool, _folder) = database().await;
        let error = query::answer(&pool, &shop("acme"), "prices", json!({})).await;
        let error = error.expect_err("is no question").to_string();
        assert_eq!(error, "catalog has no question \"prices\"");
        let error = query::answer(&pool, &shop("acme"), "product", json!({ "sku": "" })).await;
        let error = error.expect_err("is no SKU").to_string();
        assert_eq!(error, "the parameters do not fit the question");
    }
}
