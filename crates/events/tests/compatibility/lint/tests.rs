//! One test a rule: a file that violations it, and one like it that does not.

use super::violations;
use crate::compile_files;

const NAME: &str = "s/v1/file.proto";

/// A file of a package, with the options that every file has.
fn file(package: &str, text: &str) -> String {
    let options = format!(
        "option csharp_namespace = \"S\"; option go_package = \"{package};s\"; \
         option java_multiple_files = true; option java_package = \"{package}\";"
    );
    format!("syntax = \"proto3\"; package {package}; {options} {text}")
}

/// Checks which rules the files violation: these, in this order, and no others.
#[track_caller]
fn check(files: &[(&str, &str, &str)], expected: &[&str]) {
    let files = files.iter().map(|(name, package, text)| ((*name).into(), file(package, text)));
    check_texts(files.collect(), expected);
}

#[track_caller]
fn check_texts(files: Vec<(String, String)>, expected: &[&str]) {
    let violations = violations(&compile_files(files));
    let rule = |violation: &str| {
        let (_, rest) = violation.split_once(" [").expect("a violation names its rule");
        rest.split_once("]. Fix: ").expect("a violation names its fix").0.to_owned()
    };
    let rules: Vec<_> = violations.iter().map(|it| rule(it)).collect();
    assert_eq!(rules, expected, "{violations:#?}");
}

/// Checks a text in a file that is otherwise as it should be.
#[track_caller]
fn check_text(text: &str, expected: &[&str]) {
    check(&[(NAME, "s.v1", text)], expected);
}

#[test]
fn a_file_is_where_its_package_says_and_has_a_version() {
    check_text("", &[]);
    check(&[("s/file.proto", "s.v1", "")], &["PACKAGE_DIRECTORY_MATCH"]);
    check(&[("s/file.proto", "s", "")], &["PACKAGE_VERSION_SUFFIX"]);
    check(&[("s/v1x/file.proto", "s.v1x", "")], &["PACKAGE_VERSION_SUFFIX"]);
    check(&[("S/v1/file.proto", "S.v1", "")], &["PACKAGE_LOWER_SNAKE_CASE"]);
    check(&[("s/v1/File.proto", "s.v1", "")], &["FILE_LOWER_SNAKE_CASE"]);
}

#[test]
fn a_file_has_the_options_of_its_package() {
    let bare = "syntax = \"proto3\"; package s.v1;".to_owned();
    check_texts(vec![(NAME.into(), bare)], &["PACKAGE_OPTIONS_PRESENT"; 4]);
    let other = file("s.v1", "").replace("\"S\"", "\"T\"").replace("\"s.v1;s\"", "\"s.v1;t\"");
    let files = vec![(NAME.into(), file("s.v1", "")), ("s/v1/other.proto".into(), other)];
    check_texts(files, &["PACKAGE_SAME_CSHARP_NAMESPACE", "PACKAGE_SAME_GO_PACKAGE"]);
}

#[test]
fn an_import_is_used_plain_and_never_leads_back() {
    let m = ("m/v1/m.proto", "m.v1", "message M {}");
    let using = "import \"m/v1/m.proto\"; message A { m.v1.M m = 1; }";
    check(&[m, (NAME, "s.v1", using)], &[]);
    check(&[m, (NAME, "s.v1", "import \"m/v1/m.proto\";")], &["IMPORT_USED"]);
    let public = using.replace("import ", "import public ");
    check(&[m, (NAME, "s.v1", &public)], &["IMPORT_NO_PUBLIC"]);
    let back =
        ("m/v1/back.proto", "m.v1", "import \"s/v1/file.proto\"; message B { s.v1.A a = 1; }");
    check(&[m, (NAME, "s.v1", using), back], &["PACKAGE_NO_IMPORT_CYCLE"; 2]);
}

#[test]
fn messages_and_fields_are_named_as_usual() {
    check_text("message OneTwo { map<string, int32> a_b = 1; oneof c_d { string e2 = 2; } }", &[]);
    check_text("message one_two {}", &["MESSAGE_PASCAL_CASE"]);
    check_text("message A { message b {} }", &["MESSAGE_PASCAL_CASE"]);
    check_text("message A { string oneTwo = 1; }", &["FIELD_LOWER_SNAKE_CASE"]);
    check_text("message A { optional string one_two = 1; }", &[]);
    check_text("message A { oneof oneTwo { string a = 1; } }", &["ONEOF_LOWER_SNAKE_CASE"]);
}

#[test]
fn values_bear_the_name_of_their_enum() {
    check_text("enum OneTwo { ONE_TWO_UNSPECIFIED = 0; ONE_TWO_A1 = 1; }", &[]);
    check_text("enum one { ONE_UNSPECIFIED = 0; }", &["ENUM_PASCAL_CASE"]);
    check_text("enum OneTwo { ONE_TWO_NONE = 0; }", &["ENUM_ZERO_VALUE_SUFFIX"]);
    check_text("enum OneTwo { ONE_TWO_UNSPECIFIED = 0; TWO_A = 1; }", &["ENUM_VALUE_PREFIX"]);
    let mixed = "enum One { ONE_UNSPECIFIED = 0; ONE_b = 1; }";
    check_text(mixed, &["ENUM_VALUE_UPPER_SNAKE_CASE"]);
    let alias =
        "enum One { option allow_alias = true; ONE_UNSPECIFIED = 0; ONE_A = 1; ONE_B = 1; }";
    check_text(alias, &["ENUM_NO_ALLOW_ALIAS"]);
}
