//! All SQL of the ledger.

use std::collections::HashMap;

use engine::{Cause, Context, Local, StoreError};
use events::{id::Shop, time::Timestamp};
use serde_json::{Value, json};
use sqlx::{AnyConnection, AnyPool, Row, any::AnyRow};

use super::{Account, Charge, Input, Keys, State};

pub(super) async fn load(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, Keys>,
) -> Result<HashMap<Shop, State>, StoreError> {
    let mut states: HashMap<Shop, State> = HashMap::new();
    let accounts: Vec<_> = keys
        .iter()
        .flat_map(|(shop, keys)| keys.accounts.iter().map(move |id| (shop, id)))
        .collect();
    let rows = sqlx::query(
        "select a.shop, a.id, a.version, a.balance, a.deposits, a.deadline, a.charge, a.closed, \
         a.correlation_id, a.traceparent \
         from jsonb_each($1) join ledger_account a on a.shop = value->>0 and a.id = value->>1",
    )
    .bind(serde_json::to_string(&accounts)?)
    .fetch_all(&mut *db)
    .await?;
    for row in &rows {
        let account = Account {
            version: row.try_get::<i64, _>(2)? as u64,
            balance: row.try_get(3)?,
            deposits: row.try_get(4)?,
            deadline: row.try_get::<Option<i64>, _>(5)?.map(Timestamp::from_millis),
            charge: row.try_get(6)?,
            closed: row.try_get::<i64, _>(7)? != 0,
            context: Context::from_columns(row.try_get(8)?, row.try_get(9)?),
        };
        states.entry(shop(row)?).or_default().accounts.loaded(row.try_get(1)?, account);
    }
    let prices: Vec<_> = keys
        .iter()
        .flat_map(|(shop, keys)| keys.prices.iter().map(move |sku| (shop, sku)))
        .collect();
    let rows = sqlx::query(
        "select p.shop, p.sku, p.price \
         from jsonb_each($1) join ledger_price p on p.shop = value->>0 and p.sku = value->>1",
    )
    .bind(serde_json::to_string(&prices)?)
    .fetch_all(&mut *db)
    .await?;
    for row in &rows {
        let state = states.entry(shop(row)?).or_default();
        state.prices.loaded(row.try_get(1)?, row.try_get(2)?);
    }
    Ok(states)
}

pub(super) async fn save(
    db: &mut AnyConnection,
    partition: u32,
    states: &HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let (mut accounts, mut prices) = (Vec::new(), Vec::new());
    for (shop, state) in states {
        for (id, account) in state.accounts.changed() {
            let Account { version, balance, deposits, charge, closed, context, .. } = account;
            let deadline = account.deadline.map(Timestamp::millis);
            let Context { correlation_id, traceparent } = context;
            accounts.push((
                (shop, id, partition, version, balance, deposits),
                (deadline, charge, i64::from(*closed), correlation_id, traceparent),
            ));
        }
        prices.extend(state.prices.changed().map(|(sku, price)| (shop, sku, price)));
    }
    sqlx::query(
        "insert into ledger_account (shop, id, partition, version, balance, deposits, deadline, \
         charge, closed, correlation_id, traceparent) \
         select value->0->>0, value->0->>1, cast(value->0->>2 as bigint), \
         cast(value->0->>3 as bigint), cast(value->0->>4 as bigint), cast(value->0->>5 as bigint), \
         cast(value->1->>0 as bigint), cast(value->1->>1 as bigint), cast(value->1->>2 as bigint), \
         value->1->>3, value->1->>4 \
         from jsonb_each($1) where true \
         on conflict (shop, id) do update set version = excluded.version, \
         balance = excluded.balance, deposits = excluded.deposits, deadline = excluded.deadline, \
         charge = excluded.charge, closed = excluded.closed, \
         correlation_id = excluded.correlation_id, traceparent = excluded.traceparent",
    )
    .bind(serde_json::to_string(&accounts)?)
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "insert into ledger_price (shop, sku, price) \
         select value->>0, value->>1, cast(value->>2 as bigint) from jsonb_each($1) where true \
         on conflict (shop, sku) do update set price = excluded.price",
    )
    .bind(serde_json::to_string(&prices)?)
    .execute(&mut *db)
    .await?;
    Ok(())
}

pub(super) async fn due(
    db: &mut AnyConnection,
    partition: u32,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Local<Input>>, StoreError> {
    let rows = sqlx::query(
        "select shop, id, deadline, correlation_id, traceparent from ledger_account \
         where partition = $1 and deadline <= $2 order by deadline limit $3",
    )
    .bind(i64::from(partition))
    .bind(now.millis())
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            let account: String = row.try_get(1)?;
            let until = Timestamp::from_millis(row.try_get(2)?);
            Ok(Local {
                shop: shop(row)?,
                aggregate: account.clone(),
                cause: Cause { id: String::new(), kind: "timer.promise".to_owned() },
                context: Context::from_columns(row.try_get(3)?, row.try_get(4)?),
                input: Input::PromiseDue { account, until },
            })
        })
        .collect()
}

pub(super) async fn pending(
    db: &mut AnyConnection,
    partition: u32,
) -> Result<Vec<Charge>, StoreError> {
    let rows = sqlx::query(
        "select shop, id, charge, correlation_id, traceparent from ledger_account \
         where partition = $1 and charge is not null order by shop, id",
    )
    .bind(i64::from(partition))
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Charge {
                shop: shop(row)?,
                account: row.try_get(1)?,
                amount: row.try_get(2)?,
                context: Context::from_columns(row.try_get(3)?, row.try_get(4)?),
            })
        })
        .collect()
}

pub(super) async fn account(
    db: &AnyPool,
    shop: &Shop,
    id: &str,
) -> Result<Option<Value>, StoreError> {
    let row = sqlx::query(
        "select balance, deposits, version from ledger_account where shop = $1 and id = $2",
    )
    .bind(shop.to_string())
    .bind(id.to_owned())
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let (balance, deposits): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Some(
        json!({ "balance": balance, "deposits": deposits, "version": row.try_get::<i64, _>(2)? }),
    ))
}

fn shop(row: &AnyRow) -> Result<Shop, StoreError> {
    let value: String = row.try_get(0)?;
    Shop::parse(&value).map_err(|_| StoreError::Corrupt {
        table: "ledger_account",
        column: "shop",
        value,
    })
}
