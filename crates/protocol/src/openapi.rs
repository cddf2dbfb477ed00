//! How ids and times look in a description of an HTTP API: as schemas of OpenAPI.

use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaFormat, Type};

use crate::{
    id::{CommandId, Shop},
    time::Timestamp,
};

/// A schema of text: what it is, the regular expression that it matches, and its longest length.
pub fn text(description: &str, pattern: &str, max_length: usize, example: &str) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .pattern(Some(pattern))
        .min_length(Some(1))
        .max_length(Some(max_length))
        .examples([example])
        .build()
}

/// A schema of text in a format that JSON Schema names, such as `uuid`.
pub fn formatted(description: &str, format: &str, example: &str) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .format(Some(SchemaFormat::Custom(format.to_owned())))
        .examples([example])
        .build()
}

/// Gives types their schemas, each under its own name. The crate that uses it depends on utoipa.
#[macro_export]
macro_rules! impl_schema {
    ($($name:ident => $schema:expr;)+) => {
        $(
            impl ::utoipa::PartialSchema for $name {
                fn schema() -> ::utoipa::openapi::RefOr<::utoipa::openapi::schema::Schema> {
                    $schema.into()
                }
            }

            impl ::utoipa::ToSchema for $name {}
        )+
    };
}

impl_schema! {
    Shop => text("A shop.", "^[a-z0-9][a-z0-9-]*$", 63, "acme");
    CommandId => formatted(
        "A command: what a request asks a service to do.",
        "uuid",
        "019cec2b-2dc4-7000-8000-000000000007",
    );
    Timestamp => formatted("A time in UTC (RFC 3339).", "date-time", "2026-03-14T09:26:53.589Z");
}
