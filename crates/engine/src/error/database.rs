//! What a database says when it cannot be opened.

/// Whether a database refuses connections, or is starting or stopping (class 57 of the codes of
/// Postgres), or has none left (class 53).
pub(super) fn is_unreachable_database(error: &(dyn std::error::Error + 'static)) -> bool {
    match error.downcast_ref::<sqlx::Error>() {
        Some(sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut) => true,
        Some(sqlx::Error::Database(error)) => {
            error.code().is_some_and(|code| code.starts_with("57") || code.starts_with("53"))
        }
        _ => false,
    }
}

/// Whether `SQLite` says that a file is no database, or a malformed one.
pub(super) fn is_damaged_file(error: &(dyn std::error::Error + 'static)) -> bool {
    const CORRUPT: i32 = 11;
    const NOT_A_DATABASE: i32 = 26;
    let Some(sqlx::Error::Database(error)) = error.downcast_ref::<sqlx::Error>() else {
        return false;
    };
    // Five characters are a code of Postgres. The lowest byte of an extended code is the code.
    let code = error.code().filter(|code| code.len() < 5);
    let code = code.and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff);
    matches!(code, Some(CORRUPT | NOT_A_DATABASE))
}
