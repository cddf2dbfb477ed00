//! The kinds of problems: the code, the status and the title of each.

use axum::http::StatusCode;

/// The kind of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Code {
    Unauthorized,
    Forbidden,
    NotFound,
    UnknownShop,
    ShopSuspended,
    MethodNotAllowed,
    MalformedJson,
    MalformedProtobuf,
    IncompleteBody,
    MalformedEncoding,
    InvalidHeader,
    InvalidFields,
    TooLarge,
    UnsupportedMediaType,
    IdempotencyKeyReused,
    ReferenceTaken,
    LinesRefused,
    TotalOutOfRange,
    TotalMismatch,
    OnAccountRefused,
    CurrencyRefused,
    CountryRefused,
    PaymentNotDue,
    TooLate,
    NothingToRefund,
    RefundTooLarge,
    NotStuck,
    ResolutionNotApplicable,
    StaleProduct,
    VersionMismatch,
    TooManyLocations,
    UnknownCategory,
    UnknownSku,
    SkuOfOtherListing,
    CategoryCycle,
    CategoryTooDeep,
    TooManyCategories,
    CategoryHasChildren,
    CategoryHasListings,
    TooManyWebhooks,
    EndpointDisabled,
    KeyEnded,
    PreconditionFailed,
    NoPersonKeys,
    CursorLost,
    NewerEvent,
    LogUnavailable,
    Internal,
    Unavailable,
    ThirdPartyUnavailable,
    NotReady,
    TooManyRequests,
    Overloaded,
    TimedOut,
}

impl Code {
    /// Every code.
    pub(crate) const ALL: [Self; 54] = [
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::UnknownShop,
        Self::ShopSuspended,
        Self::MethodNotAllowed,
        Self::MalformedJson,
        Self::MalformedProtobuf,
        Self::IncompleteBody,
        Self::MalformedEncoding,
        Self::InvalidHeader,
        Self::InvalidFields,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::IdempotencyKeyReused,
        Self::ReferenceTaken,
        Self::LinesRefused,
        Self::TotalOutOfRange,
        Self::TotalMismatch,
        Self::OnAccountRefused,
        Self::CurrencyRefused,
        Self::CountryRefused,
        Self::PaymentNotDue,
        Self::TooLate,
        Self::NothingToRefund,
        Self::RefundTooLarge,
        Self::NotStuck,
        Self::ResolutionNotApplicable,
        Self::StaleProduct,
        Self::VersionMismatch,
        Self::TooManyLocations,
        Self::UnknownCategory,
        Self::UnknownSku,
        Self::SkuOfOtherListing,
        Self::CategoryCycle,
        Self::CategoryTooDeep,
        Self::TooManyCategories,
        Self::CategoryHasChildren,
        Self::CategoryHasListings,
        Self::TooManyWebhooks,
        Self::EndpointDisabled,
        Self::KeyEnded,
        Self::PreconditionFailed,
        Self::NoPersonKeys,
        Self::CursorLost,
        Self::NewerEvent,
        Self::LogUnavailable,
        Self::Internal,
        Self::Unavailable,
        Self::ThirdPartyUnavailable,
        Self::NotReady,
        Self::TooManyRequests,
        Self::Overloaded,
        Self::TimedOut,
    ];

    /// Reads a code.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.code_and_title().0 == name)
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::MalformedJson
            | Self::MalformedProtobuf
            | Self::IncompleteBody
            | Self::MalformedEncoding
            | Self::InvalidHeader => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound | Self::UnknownShop => StatusCode::NOT_FOUND,
            Self::Forbidden | Self::ShopSuspended => StatusCode::FORBIDDEN,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::ReferenceTaken
            | Self::TotalMismatch
            | Self::PaymentNotDue
            | Self::TooLate
            | Self::NothingToRefund
            | Self::NotStuck
            | Self::ResolutionNotApplicable
            | Self::StaleProduct
            | Self::VersionMismatch
            | Self::TooManyLocations
            | Self::TooManyCategories
            | Self::CategoryHasChildren
            | Self::CategoryHasListings
            | Self::TooManyWebhooks
            | Self::EndpointDisabled
            | Self::KeyEnded => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::InvalidFields
            | Self::IdempotencyKeyReused
            | Self::LinesRefused
            | Self::UnknownCategory
            | Self::UnknownSku
            | Self::SkuOfOtherListing
            | Self::CategoryCycle
            | Self::CategoryTooDeep
            | Self::TotalOutOfRange
            | Self::RefundTooLarge
            | Self::OnAccountRefused
            | Self::CurrencyRefused
            | Self::CountryRefused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::CursorLost => StatusCode::GONE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NewerEvent
            | Self::LogUnavailable
            | Self::ThirdPartyUnavailable
            | Self::NoPersonKeys
            | Self::Unavailable
            | Self::NotReady
            | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The stable code, and the title.
    pub(crate) fn code_and_title(self) -> (&'static str, &'static str) {
        match self {
            Self::Unauthorized => ("unauthorized", "The API key or token is missing or wrong"),
            Self::Forbidden => ("forbidden", "The API key or token does not allow this"),
            Self::NotFound => ("not_found", "Not found"),
            Self::ShopSuspended => ("shop_suspended", "The shop is suspended"),
            Self::UnknownShop => ("unknown_shop", "There is no such shop"),
            Self::MethodNotAllowed => ("method_not_allowed", "The route does not have this method"),
            Self::MalformedJson => ("malformed_json", "The body is not valid JSON"),
            Self::MalformedProtobuf => {
                ("malformed_protobuf", "The message is not the protobuf message that it should be")
            }
            Self::IncompleteBody => ("incomplete_body", "The body is incomplete"),
            Self::MalformedEncoding => {
                ("malformed_encoding", "The body is not compressed as it says")
            }
            Self::InvalidHeader => ("invalid_header", "A header is invalid"),
            Self::InvalidFields => ("invalid_fields", "Some fields are invalid"),
            Self::TooLarge => ("too_large", "The body is too large"),
            Self::UnsupportedMediaType => {
                ("unsupported_media_type", "The content type is not supported")
            }
            Self::IdempotencyKeyReused => {
                ("idempotency_key_reused", "The idempotency key was used for another request")
            }
            Self::ReferenceTaken => ("reference_taken", "The reference is in use"),
            Self::LinesRefused => ("lines_refused", "Some lines cannot be sold"),
            Self::TotalOutOfRange => ("total_out_of_range", "The order's total is out of range"),
            Self::TotalMismatch => ("total_mismatch", "The order costs something else"),
            Self::OnAccountRefused => ("on_account_refused", "The shop sells nothing on account"),
            Self::CurrencyRefused => {
                ("currency_refused", "The shop does not sell in this currency")
            }
            Self::CountryRefused => ("country_refused", "The shop does not sell to this country"),
            Self::PaymentNotDue => ("payment_not_due", "No payment of the order is due"),
            Self::TooLate => ("too_late", "The order can no longer be cancelled"),
            Self::StaleProduct => ("stale", "The product changed later"),
            Self::VersionMismatch => ("version_mismatch", "The product has another version"),
            Self::NothingToRefund => ("nothing_to_refund", "Nothing can be paid back"),
            Self::NotStuck => ("not_stuck", "Nothing of the payment is to be settled"),
            Self::ResolutionNotApplicable => {
                ("resolution_not_applicable", "The payment cannot be settled like this")
            }
            Self::RefundTooLarge => ("refund_too_large", "So much cannot be paid back"),
            Self::TooManyLocations => {
                ("too_many_locations", "The shop has as many locations as one may have")
            }
            Self::UnknownCategory => ("unknown_category", "There is no such category"),
            Self::UnknownSku => ("unknown_sku", "No product has this SKU"),
            Self::SkuOfOtherListing => {
                ("sku_of_other_listing", "The product does not name this listing")
            }
            Self::CategoryCycle => ("category_cycle", "The category would be below itself"),
            Self::CategoryTooDeep => {
                ("category_too_deep", "The tree of categories would be too deep")
            }
            Self::TooManyCategories => {
                ("too_many_categories", "There are as many categories as there may be")
            }
            Self::CategoryHasChildren => {
                ("category_has_children", "The category has categories below it")
            }
            Self::CategoryHasListings => ("category_has_listings", "The category has listings"),
            Self::TooManyWebhooks => {
                ("too_many_webhooks", "There are as many webhooks as there may be")
            }
            Self::EndpointDisabled => ("endpoint_disabled", "The webhook endpoint is disabled"),
            Self::KeyEnded => ("key_ended", "The API key was revoked or has expired"),
            Self::PreconditionFailed => {
                ("precondition_failed", "The condition of the request does not hold")
            }
            Self::NoPersonKeys => ("no_person_keys", "Personal data cannot be sealed here"),
            Self::CursorLost => ("cursor_lost", "The logs are not those of the cursor"),
            Self::NewerEvent => ("newer_event", "An event is of a newer version"),
            Self::LogUnavailable => ("log_unavailable", "A log cannot be read"),
            Self::Internal => ("internal", "Internal error"),
            Self::Unavailable => ("unavailable", "A service is unavailable"),
            Self::ThirdPartyUnavailable => {
                ("third_party_unavailable", "A system of a third party does not answer")
            }
            Self::NotReady => ("not_ready", "The process is not ready"),
            Self::TooManyRequests => {
                ("too_many_requests", "Too many requests of the key, or to the shop")
            }
            Self::Overloaded => ("overloaded", "Too many requests at once"),
            Self::TimedOut => ("timed_out", "The request took too long"),
        }
    }
}
