//! The rows of the day files, as they are there.

use std::path::Path;

use anyhow::{Context, Result, bail};
use csv::StringRecord;
use events::{id::MAX_UNITS, money::MAX_ORDER_TOTAL};

/// A row of a file: one line of an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<'a> {
    /// The number of the invoice.
    pub invoice: &'a str,
    /// What was sold, charged, returned or counted.
    pub stock_code: &'a str,
    /// What it is, or why it is there; may be blank.
    pub description: &'a str,
    /// The units; negative when they come back or are lost.
    pub quantity: i64,
    /// The day and the time of the shop's clock.
    pub time: &'a str,
    /// The price of one unit in pence.
    pub price: i64,
    /// The customer, as the file names them; blank for a guest.
    pub customer: &'a str,
    /// Where the customer is.
    pub country: &'a str,
}

/// The index of each column in a file.
struct Columns {
    invoice: usize,
    stock_code: usize,
    description: usize,
    quantity: usize,
    time: usize,
    price: usize,
    customer: usize,
    country: usize,
}

/// Reads the rows of a file, one after another.
pub fn read(file: &Path, mut take: impl FnMut(&Row<'_>) -> Result<()>) -> Result<()> {
    let named = || format!("read {}", file.display());
    let mut reader = csv::Reader::from_path(file).with_context(named)?;
    let columns = Columns::find(reader.headers().with_context(named)?).with_context(named)?;
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).with_context(named)? {
        let line = record.position().map_or(0, csv::Position::line);
        let row = columns.row(&record).and_then(|row| take(&row));
        row.with_context(|| format!("line {line}")).with_context(named)?;
    }
    Ok(())
}

impl Columns {
    fn find(headers: &StringRecord) -> Result<Self> {
        let find = |name: &str| {
            let found =
                headers.iter().position(|header| header.trim_start_matches('\u{feff}') == name);
            found.with_context(|| format!("there is no column {name}"))
        };
        Ok(Self {
            invoice: find("InvoiceNo")?,
            stock_code: find("StockCode")?,
            description: find("Description")?,
            quantity: find("Quantity")?,
            time: find("InvoiceDate")?,
            price: find("UnitPrice")?,
            customer: find("CustomerID")?,
            country: find("Country")?,
        })
    }

    fn row<'a>(&self, record: &'a StringRecord) -> Result<Row<'a>> {
        let text = |column| record.get(column).unwrap_or_default();
        let (quantity, price) = (text(self.quantity), text(self.price));
        let row = Row {
            invoice: text(self.invoice),
            stock_code: text(self.stock_code),
            description: text(self.description),
            quantity: units(quantity).with_context(|| format!("no quantity: {quantity:?}"))?,
            time: text(self.time),
            price: pence(price).with_context(|| format!("no price: {price:?}"))?,
            customer: text(self.customer),
            country: text(self.country),
        };
        let amount = row.quantity.checked_mul(row.price);
        if amount.is_none_or(|amount| amount.abs() > MAX_ORDER_TOTAL) {
            bail!("{quantity} at {price} is more than an order can come to");
        }
        Ok(row)
    }
}

fn units(text: &str) -> Option<i64> {
    text.parse().ok().filter(|units| (-MAX_UNITS..=MAX_UNITS).contains(units))
}

/// The pence of a price in pounds (`2.55`), rounded to the nearest, and from halfway to the even
/// one. In whole numbers throughout: 0.145 has no exact representation as a float.
pub fn pence(price: &str) -> Option<i64> {
    let (sign, amount) = price.strip_prefix('-').map_or((1, price), |amount| (-1, amount));
    let (pounds, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if pounds.is_empty() || !is_digits(pounds) || !is_digits(fraction) {
        return None;
    }
    let digit = |at: usize| fraction.as_bytes().get(at).map_or(0, |digit| i64::from(digit - b'0'));
    let down =
        pounds.parse::<i64>().ok()?.checked_mul(100)?.checked_add(digit(0) * 10 + digit(1))?;
    // Digits after the point compare as text does: "5" is half a penny, "49" less, "51" more.
    let rest = fraction.get(2..).unwrap_or_default().trim_end_matches('0');
    let is_up = match rest.cmp("5") {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => down % 2 == 1,
        std::cmp::Ordering::Greater => true,
    };
    Some(sign * (down + i64::from(is_up)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const HEADER: &str =
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";

    /// Reads a file with that text; gives the invoice, quantity and price of each row.
    fn read_text(text: &str) -> Result<Vec<(String, i64, i64)>> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("day.csv");
        fs::write(&file, text)?;
        let mut rows = Vec::new();
        read(&file, |row| {
            rows.push((row.invoice.to_owned(), row.quantity, row.price));
            Ok(())
        })?;
        Ok(rows)
    }

    #[track_caller]
    fn refuses(text: &str, why: &str) {
        let error = read_text(text).expect_err("is refused");
        let error = format!("{error:#}");
        assert!(error.contains("day.csv") && error.contains(why), "{error}");
    }

    #[test]
    fn a_price_is_rounded_to_the_nearest_penny_and_from_halfway_to_the_even_one() {
        for (price, rounded) in [
            ("2.55", 255),
            ("0", 0),
            ("7", 700),
            ("0.4", 40),
            ("0.40", 40),
            ("0.001", 0),
            ("0.005", 0),
            ("0.015", 2),
            ("0.025", 2),
            ("0.02500", 2),
            ("0.0250001", 3),
            ("0.0249999", 2),
            ("0.995", 100),
            ("1.145", 114),
            ("-11062.06", -1_106_206),
            ("-0.015", -2),
            ("-0.025", -2),
            ("38970.0", 3_897_000),
        ] {
            assert_eq!(pence(price), Some(rounded), "{price}");
        }
    }

    #[test]
    fn what_is_no_price_is_none() {
        for price in
            ["", "-", ".", ".5", "1e3", "1,50", "1.2.3", "+1", " 1", "£1", "99999999999999999999"]
        {
            assert_eq!(pence(price), None, "{price}");
        }
    }

    #[test]
    fn rows_are_read_whatever_the_order_of_the_columns_and_the_quoting() {
        let text = "Country,CustomerID,UnitPrice,InvoiceDate,Quantity,Description,StockCode,InvoiceNo\n\
            France,,1.25,2010-12-01 08:26:00,-3,\"BOX, \"\"RED\"\"\nLARGE\",22138,C536\n";
        assert_eq!(read_text(text).expect("is read"), [("C536".to_owned(), -3, 125)]);
        assert_eq!(read_text(HEADER).expect("is read"), []);
    }

    #[test]
    fn a_row_that_cannot_be_read_is_named_by_its_line() {
        let row = |quantity: &str, price: &str| {
            format!(
                "{HEADER}1,A,x,1,2010-12-01 08:26:00,1,,UK\n2,A,x,{quantity},2010-12-01 08:26:00,{price},,UK\n"
            )
        };
        refuses(&row("1.5", "1"), "line 3: no quantity: \"1.5\"");
        refuses(&row("1", "one"), "line 3: no price: \"one\"");
        refuses(&row("1000000000", "999999999"), "more than an order can come to");
        refuses("InvoiceNo,StockCode\n", "there is no column Description");
        refuses(&format!("{HEADER}1,2\n"), "line");
    }
}
