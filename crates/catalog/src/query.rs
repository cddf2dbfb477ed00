//! The questions that the catalogue answers from its projection.

use engine::{Queries, QueryError, Revision, Row as _, StoreError, Value, documents};
use events::id::Sku;
use protocol::id::Shop;
use sqlx::{AnyPool, Row as _};

use crate::{Catalog, domain::ProductRow};

/// The most products of a page: they stay below the largest message of a NATS server.
const MAX_PAGE: u32 = 1_000;
/// The products that a search looks at for one page: 12 ms of `SQLite` for one part, 31 ms for eight.
const MAX_SEARCHED: i64 = 10_000;

/// What the catalogue can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The product of a SKU.
    Product(Sku),
    /// At most `limit` products behind the SKU `after`, by SKU.
    Products {
        /// Empty: from the first.
        after: String,
        /// 1,000 at most; 0: as many as that.
        limit: u32,
        /// What their title or their SKU holds, all of it.
        parts: Vec<String>,
    },
}

/// What a question finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A product.
    Product(ProductRow),
    /// Some products, by SKU.
    Products(ProductList),
}

/// Some products.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductList {
    /// By SKU.
    pub products: Vec<ProductRow>,
    /// The SKU after which the list goes on; none at its end.
    pub next: Option<String>,
}

impl Queries for Catalog {
    async fn revision_of(
        &self,
        db: &AnyPool,
        shop: &Shop,
        _kind: &str,
        id: &str,
    ) -> Result<Option<Revision>, QueryError> {
        let row = documents::get::<ProductRow>(db, shop, id).await?;
        Ok(row.map(|row| row.revision))
    }

    async fn query(
        &self,
        db: &AnyPool,
        shop: &Shop,
        question: Question,
    ) -> Result<Option<Found>, QueryError> {
        match question {
            Question::Product(sku) => {
                Ok(documents::get::<ProductRow>(db, shop, sku).await?.map(Found::Product))
            }
            Question::Products { after, limit, parts } => {
                let found = list(db, shop, &after, page_limit(limit), &parts).await?;
                Ok(Some(Found::Products(found)))
            }
        }
    }
}

/// Lists products behind a SKU. A search ends after [`MAX_SEARCHED`] of them, however few it has found: so
/// one that finds nothing costs no more than another, and needs no index that each change would write.
async fn list(
    db: &AnyPool,
    shop: &Shop,
    after: &str,
    limit: i64,
    parts: &[String],
) -> Result<ProductList, StoreError> {
    let rows = if parts.is_empty() {
        documents::page::<ProductRow>(db, shop, after, limit).await?
    } else {
        search(db, shop, after, limit, parts).await?
    };
    let next = match rows.last() {
        Some((last, _)) if rows.len() as i64 == limit => Some(last.clone()),
        _ if parts.is_empty() => None,
        _ => last_searched(db, shop, after).await?,
    };
    Ok(ProductList { products: rows.into_iter().map(|(_, row)| row).collect(), next })
}

async fn search(
    db: &AnyPool,
    shop: &Shop,
    after: &str,
    limit: i64,
    parts: &[String],
) -> Result<Vec<(String, ProductRow)>, StoreError> {
    let holds = (0..parts.len()).map(|at| format!("search like ${} escape '\\'", at + 4));
    let statement = format!(
        "select key, document from (select key, document, search from {table} \
         where shop = $1 and key > $2 order by key limit {MAX_SEARCHED}) looked_at \
         where {holds} order by key limit $3",
        table = ProductRow::TABLE.name,
        holds = holds.collect::<Vec<_>>().join(" and "),
    );
    let mut values = vec![shop.as_str().into(), after.into(), limit.into()];
    values.extend(parts.iter().map(|part| Value::from(Some(documents::pattern(part)))));
    documents::select(db, statement, values).await?.iter().map(documents::read).collect()
}

/// The last SKU that a search behind `after` looks at; none when it looks at all that there are.
async fn last_searched(
    db: &AnyPool,
    shop: &Shop,
    after: &str,
) -> Result<Option<String>, StoreError> {
    let statement = format!(
        "select key from {table} where shop = $1 and key > $2 order by key limit 1 offset {offset}",
        table = ProductRow::TABLE.name,
        offset = MAX_SEARCHED - 1,
    );
    let rows = documents::select(db, statement, vec![shop.as_str().into(), after.into()]).await?;
    Ok(rows.first().map(|row| row.try_get("key")).transpose()?)
}

fn page_limit(wanted: u32) -> i64 {
    let limit = if wanted == 0 { MAX_PAGE } else { wanted.min(MAX_PAGE) };
    limit.into()
}
