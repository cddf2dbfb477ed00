//! What is made of results that do not fit the lines.

use csv::ByteRecord;

use super::{super::file::Original, *};

#[test]
fn an_upload_that_is_complete_has_a_result_for_each_line() {
    let (lines, sent) = sync_channel(3);
    assert!(check_answered(&sent).is_ok());
    for number in [7, 9] {
        let original = Original::Record(ByteRecord::new());
        let line = FileLine { number, original, sent: Vec::new(), note: None };
        lines.send(line).expect("it is kept");
    }
    let error = check_answered(&sent).expect_err("two have none").to_string();
    assert!(error.contains("2 lines have no result"), "{error}");
    assert!(error.contains("the first without one is line 7"), "{error}");
}
