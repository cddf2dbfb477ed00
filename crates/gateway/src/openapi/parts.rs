//! The parts that operations share: parameters, headers, responses, and what the document says of itself.

use serde_json::{Value, json};

use crate::{api_key::Scope, problem::Code};

const DESCRIPTION: &str = "\
The HTTP API of Tradewind, an event-driven commerce backend: shops, products, stock, orders, payments, the feed of all \
events, and webhooks.

Money is integer minor units (950 is 9.50 GBP) with an ISO 4217 code; time is RFC 3339 in UTC. A 2xx answer means that the \
effect is stored for good. Whatever is not 2xx is a problem document of RFC 9457, whose `code` is stable.

A request may have 100 headers and a head of 64 KB, otherwise it is answered 431, or 414 for path and query, without a body; \
lists and objects of a body may be nested 32 deep.

A request that changes something may be sent again with the same `Idempotency-Key`: it has one effect and the same answer. A \
command that is not answered in time is answered with 202, and can be followed.";

/// The names of the parameters in paths.
const OF_PATH: [&str; 14] = [
    "shop",
    "sku",
    "code",
    "category_key",
    "listing_key",
    "id",
    "payment_id",
    "command_id",
    "endpoint_id",
    "seq",
    "replay_id",
    "connector",
    "rejection_id",
    "key_id",
];
const PARAMETERS: &str = "#/components/parameters/";

pub(super) fn info() -> Value {
    json!({
        "title": "Tradewind",
        "version": env!("CARGO_PKG_VERSION"),
        "description": DESCRIPTION,
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    })
}

pub(super) fn tags() -> Value {
    let tag = |(name, description): (&str, &str)| json!({"name": name, "description": description});
    let tags = [
        ("Shops", "What sells: its settings, whether it is suspended."),
        ("API keys", "Who may do what: keys, their scopes and shops."),
        ("Products", "What is sold, and for how much."),
        ("Categories", "The tree in which listings are shown."),
        ("Listings", "What several SKUs share: texts, media, attributes, translations."),
        ("Inventory", "Stock by location, as ERP connectors report it and orders promise it."),
        ("Orders", "Orders from being placed to being shipped or cancelled."),
        ("Payments", "Payments of orders, refunds, and the comparison with the provider."),
        ("Events", "All that happened in a shop, in order and without gaps."),
        ("Webhooks", "Where events are delivered to, and what became of each delivery."),
        ("Mails", "What is sent to the customers of orders."),
        ("Commands", "What has become of a request that was not answered in time."),
        ("Operations", "Health, readiness, totals, and this description."),
    ];
    Value::Array(tags.into_iter().map(tag).collect())
}

pub(super) fn security_schemes() -> Value {
    let scope = |scope: &Scope| format!("- `{}`: {}", scope.as_str(), scope.description());
    let scopes: Vec<_> = Scope::ALL.iter().map(scope).collect();
    let description = format!(
        "An API key, as `Authorization: Bearer KEY`. What a key allows are its scopes, and the shops that it is for. Each \
         operation names the scopes of which it needs one:\n\n{}",
        scopes.join("\n")
    );
    json!({"api_key": {"type": "http", "scheme": "bearer", "description": description}})
}

/// A reference to a parameter.
pub(super) fn parameter(name: &str) -> Value {
    json!({"$ref": format!("{PARAMETERS}{name}")})
}

/// Whether a reference is to a parameter of a path.
pub(super) fn is_of_path(reference: &str) -> bool {
    reference.strip_prefix(PARAMETERS).is_some_and(|name| OF_PATH.contains(&name))
}

pub(super) fn parameters() -> Value {
    let schema = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let id = json!({"type": "string", "pattern": "^[A-Za-z0-9_]+$", "maxLength": 64});
    let key = json!({"type": "string", "pattern": "^[0-9a-v]{16}$"});
    let number = json!({"type": "integer", "format": "int64", "minimum": 1});
    let rejection = json!({"type": "string", "pattern": "^[a-z0-9-]{1,63}\\.[0-9]{1,19}$"});
    let descriptions = [
        ("shop", schema("Shop"), "The shop."),
        ("sku", schema("Sku"), "The stock keeping unit."),
        ("code", schema("Location"), "The code of the location."),
        ("category_key", schema("CategoryKey"), "The key of the category."),
        ("listing_key", schema("ListingKey"), "The key of the listing."),
        ("id", schema("OrderId"), "The id of the order."),
        ("payment_id", schema("PaymentId"), "The id of the payment."),
        ("command_id", schema("CommandId"), "The id of the command."),
        ("endpoint_id", id.clone(), "The id of the webhook endpoint."),
        ("seq", number, "The `endpoint_seq` of the delivery, or the number of the mail."),
        ("replay_id", id, "The id of the replay."),
        ("connector", schema("Connector"), "The connector."),
        ("rejection_id", rejection, "The id of the rejected line: `<connector>.<number>`."),
        ("key_id", key, "The id of the API key: what stands between `tw_` and the next `_`."),
    ];
    let mut parameters = json!({});
    for (name, schema, description) in descriptions {
        parameters[name] = json!({"name": name, "in": "path", "required": true,
            "description": description, "schema": schema});
    }
    let headers = [
        (
            "Idempotency-Key",
            json!({"type": "string", "pattern": "^[!-~]+$", "minLength": 1, "maxLength": 255}),
            "At the caller's choice. The same request under the same key has one effect and the same answer, for at \
             least seven days.",
        ),
        (
            "Tradewind-After",
            json!({"type": "string", "maxLength": 512,
                "pattern": "^[a-z_]{1,32}\\.[0-9]{1,9}=[0-9]{1,18}(,[a-z_]{1,32}\\.[0-9]{1,9}=[0-9]{1,18})*$"}),
            "The `Tradewind-Position` of an earlier answer: what it tells of is taken into account, whatever gateway \
             this request goes through.",
        ),
        (
            "If-None-Match",
            json!({"type": "string"}),
            "The `ETag` of an earlier answer: when nothing has changed since, the answer is 304 without a body.",
        ),
        ("traceparent", json!({"type": "string"}), "The W3C trace context."),
    ];
    for (name, schema, description) in headers {
        parameters[name] =
            json!({"name": name, "in": "header", "description": description, "schema": schema});
    }
    parameters
}

pub(super) fn headers() -> Value {
    let headers = [
        ("X-Request-Id", "uuid", "The name of the request in the log of the gateway."),
        ("traceparent", "", "The W3C trace context of the request."),
        ("ETag", "", "The version of the answer, for `If-None-Match`."),
        ("Tradewind-Position", "", "How much of the services' logs the answer tells of."),
        ("Idempotency-Replayed", "", "`true`: this was answered before, to the same key."),
        ("Location", "uri-reference", "Where the command can be followed, or what is meant is."),
        ("Retry-After", "", "With 202, 429 and 503: seconds until it makes sense to ask again."),
        (
            "RateLimit",
            "",
            "Where requests are limited: what is left of each limit (`r`), and in how many seconds all of it is there \
             again (`t`), such as `\"shop\";r=3997;t=1`.",
        ),
        (
            "RateLimit-Policy",
            "",
            "Where requests are limited: how many may be sent at once (`q`), and after how many seconds as many again \
             (`w`), such as `\"shop\";q=4000;w=2`.",
        ),
        ("WWW-Authenticate", "", "With 401: `Bearer`."),
    ];
    let mut all = json!({});
    for (name, format, description) in headers {
        let mut schema = json!({"type": "string"});
        if !format.is_empty() {
            schema["format"] = json!(format);
        }
        all[name] = json!({"description": description, "schema": schema});
    }
    all
}

/// The responses that many operations have.
pub(super) fn responses(problem: &Value, accepted: &Value) -> Value {
    let header = |name: &str| json!({"$ref": format!("#/components/headers/{name}")});
    let common = [
        "X-Request-Id",
        "traceparent",
        "Tradewind-Position",
        "Location",
        "Retry-After",
        "RateLimit",
        "RateLimit-Policy",
    ];
    let mut headers = json!({});
    for name in common {
        headers[name] = header(name);
    }
    let mut of_problem = headers.clone();
    of_problem["Idempotency-Replayed"] = header("Idempotency-Replayed");
    of_problem["WWW-Authenticate"] = header("WWW-Authenticate");
    let mut of_not_modified = json!({});
    for name in ["X-Request-Id", "traceparent", "ETag", "RateLimit", "RateLimit-Policy"] {
        of_not_modified[name] = header(name);
    }
    let content = |schema: &str, example: &Value| {
        let mut content = json!({"schema": {"$ref": format!("#/components/schemas/{schema}")}});
        if !example.is_null() {
            content["example"] = example.clone();
        }
        content
    };
    json!({
        "Problem": {
            "description": "The request failed: a problem document of RFC 9457.",
            "headers": of_problem,
            "content": {"application/problem+json": content("Problem", problem)},
        },
        "NotModified": {
            "description": "The answer is the one of which the client has sent the `ETag`.",
            "headers": of_not_modified,
        },
        "Accepted": {
            "description": "The request is stored and will be handled; it was not answered in time. It can be followed.",
            "headers": headers,
            "content": {"application/json": content("Accepted", accepted)},
        },
    })
}

/// The codes of problems as a table, for the description of `code`.
pub(super) fn codes() -> String {
    let row = |code: &Code| {
        let (name, title) = code.code_and_title();
        format!("- `{name}` ({}): {title}", code.status().as_u16())
    };
    Code::ALL.iter().map(row).collect::<Vec<_>>().join("\n")
}

/// The text without the line breaks of its source; paragraphs stay.
pub(super) fn one_line(text: &str) -> String {
    let paragraphs = text.trim().split("\n\n");
    let joined = paragraphs.map(|it| it.split_whitespace().collect::<Vec<_>>().join(" "));
    joined.collect::<Vec<_>>().join("\n\n")
}
