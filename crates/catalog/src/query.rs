//! The questions that the catalogue answers from its projection.

use engine::{Queries, QueryError, Revision, Row as _, StoreError, Value, documents};
use events::{
    id::{CategoryKey, ListingKey, Sku},
    questions::first,
};
use protocol::id::Shop;
use sqlx::{AnyPool, Row as _};

use crate::{
    Catalog,
    domain::{
        categories::{self, CategoryRow},
        listings::{self, ListingRow},
        products::{self, ProductRow},
    },
    store,
};

/// The most products of a page: they stay below the largest message of a NATS server.
const MAX_PAGE: u32 = 1_000;
/// The most listings that are read for one page, each of up to 100,000 bytes.
const MAX_LISTINGS_READ: u32 = 100;
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
    /// The category of a key.
    Category(CategoryKey),
    /// At most `limit` categories behind the key `after`, by key.
    Categories {
        /// Empty: from the first.
        after: String,
        /// 1,000 at most; 0: as many as that.
        limit: u32,
    },
    /// The listing of a key, archived or not.
    Listing(ListingKey),
    /// At most `limit` listings behind the key `after`, by key.
    Listings {
        /// Empty: from the first.
        after: String,
        /// 100 at most; 0: as many as that.
        limit: u32,
        /// Whether archived ones are listed as well.
        with_archived: bool,
    },
}

/// What a question finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A product.
    Product(ProductRow),
    /// Some products, by SKU.
    Products(ProductList),
    /// A category.
    Category(CategoryRow),
    /// Some categories, by key, and whether others follow.
    Categories(Vec<CategoryRow>, bool),
    /// A listing.
    Listing(Box<ListingRow>),
    /// Some listings, by key, and whether others follow.
    Listings(Vec<ListingRow>, bool),
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
        kind: &str,
        id: &str,
    ) -> Result<Option<Revision>, QueryError> {
        Ok(match kind {
            products::KIND => {
                documents::get::<ProductRow>(db, shop, id).await?.map(|row| row.revision)
            }
            categories::KIND => {
                documents::get::<CategoryRow>(db, shop, id).await?.map(|row| row.revision)
            }
            listings::KIND => {
                documents::get::<ListingRow>(db, shop, id).await?.map(|row| row.revision)
            }
            _ => None,
        })
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
            Question::Category(key) => {
                let row = documents::get::<CategoryRow>(db, shop, key).await?;
                Ok(row.filter(|row| !row.deleted).map(Found::Category))
            }
            Question::Categories { after, limit } => {
                let limit = page_limit(limit);
                let rows = store::shown(db, shop, &after, limit + 1).await?;
                let (rows, has_more) = first(rows, u32::try_from(limit).unwrap_or(MAX_PAGE));
                Ok(Some(Found::Categories(rows, has_more)))
            }
            Question::Listing(key) => {
                let row = documents::get::<ListingRow>(db, shop, key).await?;
                Ok(row.map(Box::new).map(Found::Listing))
            }
            Question::Listings { after, limit, with_archived } => {
                let limit =
                    if limit == 0 { MAX_LISTINGS_READ } else { limit.min(MAX_LISTINGS_READ) };
                let and_next = i64::from(limit) + 1;
                let rows = if with_archived {
                    let rows = documents::page::<ListingRow>(db, shop, &after, and_next).await?;
                    rows.into_iter().map(|(_, row)| row).collect()
                } else {
                    store::shown(db, shop, &after, and_next).await?
                };
                let (rows, has_more) = first(rows, limit);
                Ok(Some(Found::Listings(rows, has_more)))
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
