//! What values mean, and which of two mappings counts.

use super::*;

fn read(text: &str) -> Result<MappingFile, toml::de::Error> {
    toml::from_str(text)
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn what_the_command_line_says_counts_before_the_file() {
    let file = read(
        "sheet = \"A\"\n[fields]\nsku = \"Item\"\nquantity = \"Stock\"\n[constants]\nconnector = \"erp\"\n\
         epoch = 1\n",
    );
    let given = (pairs(&[("sku", "Artikel")]), pairs(&[("connector", "wms")]));
    let mapping = Mapping::new(file.expect("it is read"), Format::Csv, given, Some("B".to_owned()));
    let mapping = mapping.expect("it is complete");
    assert_eq!(mapping.columns, pairs(&[("quantity", "Stock"), ("sku", "Artikel")]));
    assert_eq!(mapping.constants, pairs(&[("epoch", "1"), ("connector", "wms")]));
    assert_eq!(mapping.sheet.as_deref(), Some("B"));
}

#[test]
fn a_mapping_that_cannot_be_meant_is_refused() {
    for text in ["colums = 1", "format = \"xls\"", "to = \"stock\"", "[message]\ntype = \"846\""] {
        assert!(read(text).is_err(), "{text}");
    }
    let refused = |text: &str, format: Format| {
        let file = read(text).expect("it is read");
        Mapping::new(file, format, (Vec::new(), Vec::new()), None)
            .expect_err("it is wrong")
            .to_string()
    };
    assert!(refused("", Format::Edi).contains("[message]"));
    let message = "[message]\ntype = \"846\"\nline = \"LIN\"\n";
    assert!(refused(message, Format::Csv).contains("format = \"edi\""));
    assert!(refused("[fields]\nsku = [\"A\", \"B\"]", Format::Csv).contains("fields.sku"));
    let unknown = refused(&format!("{message}[fields]\nsku = \"LIN03\""), Format::Edi);
    assert!(unknown.contains("sku"), "{unknown}");
}

#[test]
fn values_are_converted_by_the_field_that_they_are_of() {
    let file = read(
        "utc_offset = \"+02:00\"\n[values.type]\n01 = \"count\"\n[decimals]\n\"price.minor\" = 2\n\
         quantity = 0\n",
    );
    let given = (Vec::new(), Vec::new());
    let mapping = Mapping::new(file.expect("it is read"), Format::Csv, given, None);
    let conversions = mapping.expect("it is complete").conversions;
    for (field, value, sent) in [
        ("type", "01", "count"),
        ("type", "07", "07"),
        ("sku", "01", "01"),
        ("price.minor", "18.5", "1850"),
        ("price.minor", "18,50", "1850"),
        ("price.minor", "18", "1800"),
        ("price.minor", "-0.05", "-5"),
        ("price.minor", ".75", "75"),
        ("price.minor", "-,5", "-50"),
        ("price.minor", ".", "."),
        ("price.minor", "-", "-"),
        ("price.minor", "", ""),
        ("price.minor", "18.505", "18.505"),
        ("price.minor", "1.000,00", "1.000,00"),
        ("quantity", "0012.000", "12"),
        ("quantity", "0", "0"),
        ("quantity", "12.5", "12.5"),
        ("as_of", "20261122", "2026-11-22T00:00:00+02:00"),
        ("as_of", "202611221430", "2026-11-22T14:30:00+02:00"),
        ("as_of", "2026-11-22 14:30", "2026-11-22T14:30:00+02:00"),
        ("occurred_at", "2026-11-22T14:30:05", "2026-11-22T14:30:05+02:00"),
        ("as_of", "2026-11-22T14:30:05Z", "2026-11-22T14:30:05Z"),
        ("as_of", "22.11.2026", "22.11.2026"),
        ("document", "20261122", "20261122"),
    ] {
        assert_eq!(conversions.convert(field, value), sent, "{field}");
    }
}
