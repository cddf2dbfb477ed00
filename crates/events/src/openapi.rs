//! How the names and numbers of the contract look in a description of an HTTP API: as schemas of OpenAPI.

use std::collections::BTreeMap;

use protocol::{
    impl_schema,
    openapi::{formatted, text},
};
use utoipa::{
    ToSchema,
    openapi::schema::{KnownFormat, Object, ObjectBuilder, SchemaFormat, Type},
};

use crate::{
    id::{
        CategoryKey, Connector, Country, CustomerId, DocumentId, DocumentLine, HsCode, Language,
        LineId, ListingKey, Location, MAX_UNITS, OrderId, PaymentId, Quantity, Reference, Sku,
        TaxClass, TransferId,
    },
    money::Currency,
};

/// Visible ASCII characters without spaces.
const CODE: &str = "^[!-~]+$";
/// What names of locations and connectors are made of.
const NAME: &str = "^[a-z0-9-]+$";
/// Text without control characters.
const WORDS: &str = "^[^\\x00-\\x1f\\x7f-\\x9f]+$";

impl_schema! {
    Sku => text("A stock keeping unit. Upper and lower case differ.", CODE, 64, "MUG");
    Location => text("The code of a location.", NAME, 63, "main");
    Connector => text("An ERP connector.", NAME, 63, "warehouse");
    DocumentId => text("The id of a document in its connector's system.", CODE, 128, "C-1");
    DocumentLine => text("A line of a document in its connector's system.", CODE, 64, "10");
    TransferId => text("Goods on their way between two locations.", CODE, 128, "T-1");
    Reference => text("The caller's own order number.", WORDS, 128, "R-17");
    CustomerId => text("A customer, by the id that the shop knows it by.", CODE, 128, "C-1");
    LineId => text("A line of an order, unique in it.", CODE, 64, "1");
    OrderId => formatted("An order.", "uuid", "019cec2b-2dc4-7000-8000-000000000001");
    PaymentId => text(
        "A payment: the id of its order, a hyphen, and a number from 1.",
        "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}-[1-9][0-9]{0,8}$",
        47,
        "019cec2b-2dc4-7000-8000-000000000001-1",
    );
    ListingKey => text("What several SKUs share, by its key. Upper and lower case differ.", CODE, 64, "mug");
    CategoryKey => text("A category, by its key. Upper and lower case differ.", CODE, 64, "kitchen");
    TaxClass => text("How a product is taxed, by the shop's own name for it.", NAME, 63, "reduced");
    Country => text("The ISO 3166-1 alpha-2 code of a country.", "^[A-Z]{2}$", 2, "DE");
    Language => text("A language, as BCP 47 writes it.", "^[a-z]{2,3}(-[A-Za-z0-9]{1,8})*$", 35, "de");
    HsCode => text("A code of the Harmonized System.", "^[0-9]{6,10}$", 10, "691200");
    Currency => text("The ISO 4217 code of a currency.", "^[A-Z]{3}$", 3, "GBP");
    Quantity => quantity();
}

/// What else the caller keeps about a customer: texts by name.
// It has a name because generators of clients fail on an object without one within a choice.
#[derive(ToSchema)]
#[expect(dead_code, reason = "this type is a description")]
pub(crate) struct CustomerData(BTreeMap<String, String>);

fn quantity() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .description(Some("A number of units."))
        .minimum(Some(1))
        .maximum(Some(MAX_UNITS))
        .build()
}
