//! Numbers and amounts as people read them.

/// A whole number with commas: `12,345`.
pub fn number(number: impl TryInto<i128>) -> String {
    let number = number.try_into().unwrap_or_default();
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things, with their name: `1 order`, `2 orders`.
pub fn count(things: impl TryInto<i128>, one: &str, many: &str) -> String {
    let things: i128 = things.try_into().unwrap_or_default();
    format!("{} {}", number(things), if things == 1 { one } else { many })
}

/// An amount of pence: `£1,234.50`.
pub fn pounds(pence: i64) -> String {
    let sign = if pence < 0 { "-" } else { "" };
    let pence = pence.unsigned_abs();
    format!("{sign}£{}.{:02}", number(pence / 100), pence % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1_000), "1,000");
        assert_eq!(number(-1_234_567), "-1,234,567");
        assert_eq!(count(1, "order", "orders"), "1 order");
        assert_eq!(count(2_000, "order", "orders"), "2,000 orders");
        assert_eq!(pounds(123_450), "£1,234.50");
        assert_eq!(pounds(-5), "-£0.05");
    }
}
