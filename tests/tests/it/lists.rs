//! Lists of orders and payments, through a whole installation.

use client::{Client, Response};
use events::http::AFTER_HEADER;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Db, eventually, on_both_databases};
use tests::{Gateway, Installation, SHOP, settle, stock};

on_both_databases!(
    orders_are_listed_by_all_that_is_known_of_them,
    paging_while_orders_are_placed_and_change_misses_none_and_shows_none_twice,
    paging_while_others_write_misses_none_and_shows_none_twice,
    the_movements_of_a_sku_are_read_at_all_its_locations_or_at_one,
    a_page_ends_before_it_is_too_large_to_be_answered,
);

async fn place(api: &Client, key: &str, order: Value) -> Value {
    settle(api, &order, key).await.body
}

fn order(sku: &str, customer: &str, method: &str) -> Value {
    json!({"currency": "GBP", "customer_id": customer, "payment_method": method,
        "lines": [{"sku": sku, "quantity": 1}]})
}

async fn page(api: &Client, list: &str, parameters: &[(&str, &str)]) -> Value {
    api.query(list, parameters).await.expect("a page")
}

async fn numbers(api: &Client, parameters: &[(&str, &str)]) -> Vec<u64> {
    let page = page(api, "orders", parameters).await;
    let orders = page["orders"].as_array().expect("a list");
    orders.iter().map(|order| order["number"].as_u64().expect("a number")).collect()
}

async fn cancel(api: &Client, order: &Value) -> Response {
    let path = format!("orders/{}/cancel", order["id"].as_str().expect("an id"));
    api.send(api.request(Method::POST, &path).json(&json!({}))).await.expect("an answer")
}

async fn orders_are_listed_by_all_that_is_known_of_them(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 50).await;
    stock(&api, "CUP", 50).await;
    let mut first = order("MUG", "C-1", "card");
    first["reference"] = json!("R-1");
    let first = place(&api, "1", first).await;
    place(&api, "2", order("CUP", "C-2", "card")).await;
    place(&api, "3", order("MUG", "C-2", "sim:decline")).await;
    let mut both = order("MUG", "C-1", "card");
    both["lines"] = json!([{"sku": "CUP", "quantity": 2}, {"sku": "MUG", "quantity": 1},
        {"sku": "CUP", "quantity": 1}]);
    place(&api, "4", both).await;
    assert_eq!(cancel(&api, &first).await.body["status"], "cancelled");
    let mut again = order("MUG", "C-3", "card");
    again["reference"] = json!("R-1");
    let again = place(&api, "5", again).await;

    assert_eq!(numbers(&api, &[]).await, [5, 4, 3, 2, 1]);
    assert_eq!(numbers(&api, &[("sort", "oldest"), ("limit", "3")]).await, [1, 2, 3]);
    for (parameters, found) in [
        (&[("status", "confirmed")][..], &[5, 4, 2][..]),
        (&[("status", "cancelled")], &[1]),
        (&[("payment_status", "failed")], &[3]),
        (&[("fulfilment_status", "unfulfilled"), ("customer_id", "C-1")], &[4, 1]),
        (&[("fulfilment_status", "fulfilled")], &[]),
        (&[("sku", "MUG")], &[5, 4, 3, 1]),
        (&[("sku", "CUP"), ("customer_id", "C-2")], &[2]),
        (&[("sku", "MUG"), ("status", "confirmed"), ("payment_status", "paid")], &[5, 4]),
        (&[("reference", "R-1")], &[5, 1]),
        (&[("reference", "R-1"), ("status", "cancelled")], &[1]),
        (&[("q", "R-1")], &[5, 1]),
        (&[("q", "4")], &[4]),
        (&[("q", "r")], &[5, 1]),
        (&[("q", "r-2")], &[]),
        (&[("on_hold", "true")], &[]),
        (&[("placed_from", "2020-01-01T00:00:00Z")], &[5, 4, 3, 2, 1]),
        (&[("placed_until", "2020-01-01T00:00:00Z")], &[]),
    ] {
        assert_eq!(numbers(&api, parameters).await, found, "{parameters:?}");
    }
    let third = page(&api, "orders", &[("q", "3")]).await["orders"][0].clone();
    let placed_at = third["placed_at"].as_str().expect("a time");
    assert_eq!(numbers(&api, &[("placed_from", placed_at)]).await, [5, 4, 3]);
    assert_eq!(numbers(&api, &[("placed_until", placed_at)]).await, [2, 1]);

    let listed = page(&api, "orders", &[("q", "5")]).await["orders"][0].clone();
    for name in ["id", "number", "reference", "customer_id", "total", "currency", "placed_at"] {
        assert_eq!(listed[name], again[name], "{name}");
    }
    assert_eq!((&listed["on_hold"], &listed["lines"]), (&json!(false), &Value::Null));
    let position = listed["position"].as_u64().expect("a position");
    let log = installation.server.events::<events::proto::Event>("ORDER-0").await;
    let last = log.iter().rfind(|it| it.event.aggregate_id == listed["id"]).expect("it is there");
    assert_eq!(
        (position, &listed["version"]),
        (last.sequence, &json!(last.event.aggregate_version))
    );

    // A cursor belongs to its list.
    let next = page(&api, "orders", &[("sku", "MUG"), ("limit", "1")]).await["next"].clone();
    let next = next.as_str().expect("there are more");
    assert_eq!(numbers(&api, &[("sku", "MUG"), ("after", next)]).await, [4, 3, 1]);
    for other in [&[("sku", "CUP")][..], &[], &[("sku", "MUG"), ("sort", "oldest")]] {
        let refused = api.query::<Value>("orders", &[other, &[("after", next)]].concat()).await;
        let refused = refused.expect_err("it is of another list");
        let problem = refused.problem().expect("it says why");
        assert_eq!((problem.status, problem.errors[0].field.as_str()), (422, "after"));
    }

    check_after(&installation).await;
    check_payments(&api, (&first, &again), placed_at).await;
    installation.stop_and_verify().await;
}

/// What another gateway was told of an order is in the list that is asked for behind it.
async fn check_after(installation: &Installation) {
    let api = installation.api();
    let other = Gateway::start(&installation.settings).await;
    let http = reqwest::Client::new();
    for number in 6..16 {
        let placed = api.place(&order("CUP", "C-9", "card"), &number.to_string(), None).await;
        let placed = placed.expect("an answer");
        let url = format!("{}/v1/shops/{SHOP}/orders?q={number}", other.url());
        let request = http.get(url).bearer_auth("secret");
        let request = request.header(AFTER_HEADER, placed.position.to_string());
        let found = other.api().send(request).await.expect("an answer").body;
        assert_eq!(found["orders"][0]["id"], placed.body["id"], "{number}: {found}");
    }
    other.stop().await;
}

/// The payments of an order that was cancelled, and of another one.
async fn check_payments(api: &Client, (cancelled, paid): (&Value, &Value), placed_at: &str) {
    let mut listed = Value::Null;
    eventually("what was paid of the cancelled order is refunded", async || {
        listed = page(api, "payments", &[("status", "refunded")]).await;
        listed["payments"][0]["order_id"] == cancelled["id"]
    })
    .await;
    let reference = listed["payments"][0]["provider_reference"].as_str().expect("it has one");
    let id = paid["id"].as_str().expect("an id");
    for (parameters, count) in [
        (&[("provider_reference", reference)][..], 1),
        (&[("provider_reference", reference), ("status", "captured")], 0),
        (&[("order_id", id), ("status", "captured")], 1),
        (&[("status", "declined")], 1),
        (&[("begun_from", placed_at), ("status", "declined")], 1),
        (&[("begun_until", placed_at), ("status", "declined")], 0),
    ] {
        let found = page(api, "payments", parameters).await;
        let payments = found["payments"].as_array().expect("a list");
        assert_eq!(payments.len(), count, "{parameters:?}: {found}");
    }
    eventually("the newest come first", async || {
        let newest = page(api, "payments", &[("limit", "2")]).await;
        let oldest = page(api, "payments", &[("limit", "1"), ("sort", "oldest")]).await;
        let time = |page: &Value, index: usize| page["payments"][index]["begun_at"].to_string();
        time(&newest, 0) >= time(&newest, 1) && time(&newest, 1) > time(&oldest, 0)
    })
    .await;
}

async fn paging_while_orders_are_placed_and_change_misses_none_and_shows_none_twice(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 100).await;
    let mut all = Vec::new();
    for number in 1..=12 {
        all.push(place(&api, &number.to_string(), order("MUG", "C-1", "card")).await);
    }
    for (sort, filter) in [("newest", None), ("oldest", None), ("newest", Some("unfulfilled"))] {
        let (mut seen, mut after, mut pages) = (Vec::new(), None::<String>, 0);
        loop {
            let mut parameters = vec![("limit", "2"), ("sort", sort)];
            parameters.extend(filter.map(|it| ("fulfilment_status", it)));
            parameters.extend(after.as_deref().map(|after| ("after", after)));
            let page = page(&api, "orders", &parameters).await;
            let orders = page["orders"].as_array().expect("a list");
            seen.extend(orders.iter().map(|it| it["id"].as_str().expect("an id").to_owned()));
            // While the oldest come first, a list goes on with what is placed meanwhile.
            if pages < 4 {
                let key = format!("{sort}-{}-{pages}", filter.unwrap_or("all"));
                place(&api, &key, order("MUG", "C-1", "card")).await;
                // One that was shown, or one that will be.
                cancel(&api, &all[(pages * 5) % all.len()]).await;
            }
            pages += 1;
            match page["next"].as_str() {
                Some(next) => after = Some(next.to_owned()),
                None => break,
            }
        }
        for order in &all {
            let id = order["id"].as_str().expect("an id");
            assert_eq!(seen.iter().filter(|it| *it == id).count(), 1, "{sort} {filter:?}: {id}");
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count, "{sort} {filter:?}");
    }
    installation.stop_and_verify().await;
}

/// Pages through a list, and writes between its pages; what was shown, by name.
async fn read_while(
    api: &Client,
    (list, limit): (&str, &str),
    name: impl Fn(&Value) -> String,
    mut write: impl AsyncFnMut(usize),
) -> Vec<String> {
    let (mut seen, mut after, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let mut parameters = vec![("limit", limit)];
        parameters.extend(after.as_deref().map(|after| ("after", after)));
        let path = list.rsplit('/').next().expect("a path");
        let member = match path {
            "inventory" => "levels",
            "history" => "events",
            "webhook-endpoints" => "endpoints",
            other => other,
        };
        let page = page(api, list, &parameters).await;
        seen.extend(page[member].as_array().expect("a list").iter().map(&name));
        if pages < 4 {
            write(pages).await;
        }
        pages += 1;
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return seen,
        }
    }
}

fn is_each_once(seen: &[String], all: &[String]) {
    for name in all {
        assert_eq!(seen.iter().filter(|it| *it == name).count(), 1, "{name}: {seen:?}");
    }
    let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "{seen:?}");
}

async fn paging_while_others_write_misses_none_and_shows_none_twice(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    let all: Vec<_> = (0..12).map(|number| format!("P-{number:02}")).collect();
    for sku in &all {
        stock(&api, sku, 5).await;
    }
    let text = |it: &Value, name: &str| it[name].as_str().expect("is text").to_owned();
    // Before, behind and at the place of the cursor; and one that was shown changes.
    let write = async |page: usize| {
        for sku in [format!("A-{page}"), format!("P-{page:02}-x"), format!("Z-{page}")] {
            stock(&api, &sku, 1).await;
        }
        let price = json!({"minor": 300, "currency": "GBP"});
        let product = json!({"sku": all[page], "title": format!("Now {page}"), "price": price});
        api.push("products", product.to_string()).await.expect("it is pushed");
    };
    let seen = read_while(&api, ("products", "2"), |it| text(it, "sku"), write).await;
    is_each_once(&seen, &all);
    let write = async |page: usize| {
        for sku in [format!("B-{page}"), format!("P-{page:02}-y"), format!("Y-{page}")] {
            stock(&api, &sku, 1).await;
        }
        count(&api, &all[page], 2).await;
    };
    let name = |it: &Value| text(it, "sku");
    is_each_once(&read_while(&api, ("inventory", "2"), name, write).await, &all);

    // The newest come first: what happens meanwhile is before the first page.
    let path = "inventory/P-05/movements";
    for sequence in 2..=6 {
        count(&api, "P-05", sequence).await;
    }
    let versions: Vec<_> = page(&api, path, &[]).await["movements"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| it["version"].to_string())
        .collect();
    let write = async |page: usize| count(&api, "P-05", 10 + page as u64).await;
    let name = |it: &Value| it["version"].to_string();
    is_each_once(&read_while(&api, (path, "2"), name, write).await, &versions);
    let path = "inventory/P-05/history";
    let ids = page(&api, path, &[]).await;
    let ids: Vec<_> =
        ids["events"].as_array().expect("a list").iter().map(|it| text(it, "id")).collect();
    let write = async |page: usize| count(&api, "P-05", 20 + page as u64).await;
    is_each_once(&read_while(&api, (path, "2"), |it| text(it, "id"), write).await, &ids);
    installation.stop_and_verify_with(&["shop", "catalog", "inventory"]).await;
}

async fn count(api: &Client, sku: &str, sequence: u64) {
    let line = json!({"type": "count", "sku": sku, "quantity": sequence, "connector": "till",
        "document": format!("T-{sku}-{sequence}"), "sequence": sequence});
    let pushed = api.push("inventory", line.to_string()).await.expect("it is pushed");
    assert_eq!(pushed.applied, 1, "{pushed:?}");
}

async fn the_movements_of_a_sku_are_read_at_all_its_locations_or_at_one(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    for sku in ["CUP", "MUG"] {
        stock(&api, sku, 9).await;
    }
    let berlin = api.request(Method::PUT, "locations/berlin").json(&json!({"priority": 10}));
    assert_eq!(berlin.send().await.expect("it is answered").status().as_u16(), 201);
    let lines = [
        ("MUG", "main"),
        ("MUG", "berlin"),
        ("MUG", "berlin"),
        ("CUP", "berlin"),
        ("MUG", "main"),
        ("MUG", "berlin"),
        ("CUP", "main"),
    ];
    for ((sku, location), sequence) in lines.into_iter().zip(1..) {
        let line = json!({"type": "count", "sku": sku, "location": location, "quantity": sequence,
            "connector": "till", "document": format!("T-{sequence}"), "sequence": sequence});
        let pushed = api.push("inventory", line.to_string()).await.expect("it is pushed");
        assert_eq!(pushed.applied, 1, "{pushed:?}");
    }
    let counted =
        |it: &Value| format!("{}: {}", it["location"].as_str().expect("a location"), it["on_hand"]);
    for limit in ["1", "2", "3", "100"] {
        let read = async |location| {
            let mut seen = Vec::new();
            let mut after = None::<String>;
            loop {
                let mut parameters = vec![("limit", limit)];
                parameters.extend(location);
                parameters.extend(after.as_deref().map(|after| ("after", after)));
                let page = page(&api, "inventory/MUG/movements", &parameters).await;
                let movements = page["movements"].as_array().expect("a list");
                assert!(movements.len() <= limit.parse().expect("a number"), "{page}");
                seen.extend(movements.iter().map(counted));
                match page["next"].as_str() {
                    Some(next) => after = Some(next.to_owned()),
                    None => return seen,
                }
            }
        };
        let all = ["berlin: 6", "main: 5", "berlin: 3", "berlin: 2", "main: 1", "main: 9"];
        assert_eq!(read(None).await, all, "{limit} a page");
        assert_eq!(read(Some(("location", "berlin"))).await, [all[0], all[2], all[3]]);
        assert_eq!(read(Some(("location", "main"))).await, [all[1], all[4], all[5]]);
        assert!(read(Some(("location", "paris"))).await.is_empty());
    }
    installation.stop_and_verify_with(&["shop", "catalog", "inventory"]).await;
}

async fn a_page_ends_before_it_is_too_large_to_be_answered(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let mut all = Vec::new();
    for number in 0..400 {
        // 2 kB, of which the answer to a question holds 500 kB.
        let url = format!("https://example.com/{number}/{}", "x".repeat(1_950));
        let body = json!({"url": url, "event_types": ["order.*"]});
        let request = api.request(Method::POST, "webhook-endpoints").json(&body);
        let made = api.send(request).await.expect("an answer");
        assert_eq!(made.status.as_u16(), 201, "{}", made.body);
        all.push(made.body["id"].as_str().expect("an id").to_owned());
    }
    let first = page(&api, "webhook-endpoints", &[("limit", "1000")]).await;
    let shown = first["endpoints"].as_array().map_or(0, Vec::len);
    assert!((100..400).contains(&shown), "{shown}");
    let name = |it: &Value| it["id"].as_str().expect("an id").to_owned();
    let read = read_while(&api, ("webhook-endpoints", "1000"), name, async |_| {}).await;
    is_each_once(&read, &all);
    assert_eq!(read.len(), all.len());
    installation.stop_and_verify_with(&["shop", "notify"]).await;
}
