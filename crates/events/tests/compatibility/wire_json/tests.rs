//! One test a rule: an edit that violations it, and one like it that does not.

use prost_types::FileDescriptorSet;

use super::breaking;
use crate::compile_text;

/// Checks which rules the change from `before` to `after` violations: these, in this order, and no
/// others.
#[track_caller]
fn check(before: &str, after: &str, expected: &[&str]) {
    let violations = breaking(&compile(before), &compile(after));
    let rules: Vec<_> = violations.iter().map(|it| rule(it)).collect();
    assert_eq!(rules, expected, "{violations:#?}");
}

/// The rule that a violation names in its brackets.
fn rule(violation: &str) -> &str {
    let (_, rest) = violation.split_once(" [").expect("a violation names its rule");
    rest.split_once("]. Fix: ").expect("a violation names its fix").0
}

/// Compiles a file of package `t`, unless it says its syntax and package itself.
fn compile(text: &str) -> FileDescriptorSet {
    if text.starts_with("syntax") {
        compile_text(text)
    } else {
        compile_text(&format!("syntax = \"proto3\"; package t; {text}"))
    }
}

#[test]
fn nothing_changed_is_compatible() {
    let source = "message M { map<string, E> m = 1; oneof o { M n = 2; } optional int64 p = 3;
                  reserved 4 to 6, 9 to max; reserved \"q\"; enum E { Z = 0; reserved -1; } }";
    check(source, source, &[]);
}

#[test]
fn a_breach_names_place_rule_and_fix() {
    let violations = breaking(&compile("message M { string a = 1; }"), &compile("message M {}"));
    assert_eq!(
        violations,
        [
            "field a (1) of t.M was deleted without reserving its number \
             [FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED]. Fix: restore it, or add `reserved 1;`.",
            "field a (1) of t.M was deleted without reserving its name \
             [FIELD_NO_DELETE_UNLESS_NAME_RESERVED]. Fix: restore it, or add `reserved \"a\";`.",
        ]
    );
}

#[test]
fn additions_are_compatible() {
    check(
        "message M { oneof o { string a = 1; } } enum E { Z = 0; }",
        "message M { oneof o { string a = 1; N b = 2; } repeated E c = 3; } message N {}
         enum E { Z = 0; A = 1; } enum F { Y = 0; }",
        &[],
    );
}

#[test]
fn a_deleted_field_leaves_its_number_reserved() {
    let before = "message M { string a = 5; }";
    let rule = "FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED";
    check(before, "message M { reserved \"a\"; }", &[rule]);
    check(before, "message M { reserved 1 to 4, 6; reserved \"a\"; }", &[rule]);
    check(before, "message M { reserved 1 to 5; reserved \"a\"; }", &[]);
}

#[test]
fn a_deleted_field_leaves_its_name_reserved() {
    let before = "message M { string a = 5; }";
    let rule = "FIELD_NO_DELETE_UNLESS_NAME_RESERVED";
    check(before, "message M { reserved 5; reserved \"b\"; }", &[rule]);
    check(before, "message M { reserved 5; reserved \"a\"; }", &[]);
}

#[test]
fn a_field_moved_to_another_number_is_deleted() {
    let rules = ["FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED", "FIELD_NO_DELETE_UNLESS_NAME_RESERVED"];
    check("message M { string a = 1; }", "message M { string a = 2; }", &rules);
}

#[test]
fn a_field_of_a_nested_message_is_looked_at() {
    check(
        "message M { message N { string a = 1; } N n = 1; }",
        "message M { message N { bytes a = 1; } N n = 1; }",
        &["FIELD_WIRE_JSON_COMPATIBLE_TYPE"],
    );
}

#[test]
fn a_field_keeps_its_name() {
    let before = "message M { string a = 1; }";
    check(before, "message M { string b = 1 [json_name = \"a\"]; }", &["FIELD_SAME_NAME"]);
    check(before, "message M { string c = 2; string a = 1; }", &[]);
}

#[test]
fn a_field_keeps_its_json_name() {
    let before = "message M { string a_b = 1; }";
    let rule = "FIELD_SAME_JSON_NAME";
    check(before, "message M { string a_b = 1 [json_name = \"x\"]; }", &[rule]);
    check(before, "message M { string a_b = 1 [json_name = \"aB\"]; }", &[]);
}

#[test]
fn a_field_stays_in_its_oneof() {
    let before = "message M { oneof o { string a = 1; } oneof p { string b = 2; } }";
    let rule = "FIELD_SAME_ONEOF";
    let outside = "message M { string a = 1; oneof p { string b = 2; } }";
    check(before, outside, &[rule]);
    check(outside, before, &[rule]);
    check(before, "message M { oneof p { string a = 1; string b = 2; } }", &[rule]);
    check(before, "message M { oneof p { string b = 2; } oneof o { string a = 1; } }", &[]);
}

#[test]
fn a_field_keeps_its_cardinality() {
    let rule = "FIELD_WIRE_JSON_COMPATIBLE_CARDINALITY";
    check("message M { string a = 1; }", "message M { repeated string a = 1; }", &[rule]);
    check("message M { repeated string a = 1; }", "message M { optional string a = 1; }", &[rule]);
    check("message M { string a = 1; }", "message M { optional string a = 1; }", &[]);
    check("message M { optional string a = 1; }", "message M { string a = 1; }", &[]);
}

#[test]
fn a_map_does_not_become_a_list_of_its_entries() {
    let map = "message M { map<string, int32> a = 1; }";
    let list = "message M { message AEntry { string key = 1; int32 value = 2; } \
                repeated AEntry b = 1 [json_name = \"a\"]; }";
    let rules = ["FIELD_SAME_NAME", "FIELD_WIRE_JSON_COMPATIBLE_CARDINALITY"];
    check(map, list, &rules);
    check(map, "message M { map<string, uint32> a = 1; }", &[]);
    check(map, "message M { map<string, bool> a = 1; }", &["FIELD_WIRE_JSON_COMPATIBLE_TYPE"]);
}

#[test]
fn a_field_keeps_its_type() {
    let rule = "FIELD_WIRE_JSON_COMPATIBLE_TYPE";
    let field = |kind: &str| format!("message M {{ {kind} a = 1; }}");
    for (old, new) in [
        ("int32", "int64"),  // In JSON a number becomes a string.
        ("int32", "sint32"), // Another encoding.
        ("int32", "bool"),
        ("int64", "fixed64"),
        ("float", "double"),
        ("string", "bytes"),
        ("bytes", "string"),
        ("string", "M"),
    ] {
        check(&field(old), &field(new), &[rule]);
    }
    for (old, new) in
        [("int32", "uint32"), ("uint64", "int64"), ("fixed32", "sfixed32"), ("sfixed64", "fixed64")]
    {
        check(&field(old), &field(new), &[]);
    }
}

#[test]
fn a_field_keeps_its_message() {
    check(
        "message M { N a = 1; } message N {} message O {}",
        "message M { O a = 1; } message N {} message O {}",
        &["FIELD_WIRE_JSON_COMPATIBLE_TYPE"],
    );
    check(
        "message M { N a = 1; } message N {}",
        "message M { N a = 1; } message N { N b = 1; }",
        &[],
    );
}

#[test]
fn a_field_keeps_its_enum_or_the_same_enum_elsewhere() {
    let before = "message M { E a = 1; } enum E { Z = 0; A = 1; }";
    let rule = "FIELD_WIRE_JSON_COMPATIBLE_TYPE";
    let nested = |values: &str| format!("message M {{ E a = 1; enum E {{ {values} }} }}");
    check(before, &nested("Z = 0; B = 1;"), &[rule]);
    check(before, &nested("Z = 0;"), &[rule]);
    check(before, "message M { F a = 1; } enum F { Z = 0; A = 1; }", &[rule]);
    check(before, &nested("Z = 0; A = 1; B = 2;"), &[]);
}

#[test]
fn a_deleted_enum_value_leaves_its_number_reserved() {
    let before = "enum E { Z = 0; A = 7; }";
    let rule = "ENUM_VALUE_NO_DELETE_UNLESS_NUMBER_RESERVED";
    check(before, "enum E { Z = 0; reserved 6; reserved \"A\"; }", &[rule]);
    check(before, "enum E { Z = 0; reserved 6 to 7; reserved \"A\"; }", &[]);
}

#[test]
fn a_deleted_enum_value_leaves_its_names_reserved() {
    let before = "enum E { option allow_alias = true; Z = 0; A = 7; B = 7; }";
    let rule = "ENUM_VALUE_NO_DELETE_UNLESS_NAME_RESERVED";
    check(before, "enum E { Z = 0; reserved 7; }", &[rule, rule]);
    check(before, "enum E { Z = 0; reserved 7; reserved \"A\"; }", &[rule]);
    check(before, "enum E { Z = 0; reserved 7; reserved \"A\", \"B\"; }", &[]);
}

#[test]
fn an_enum_value_keeps_its_names() {
    let before = "enum E { Z = 0; A = 1; }";
    let rule = "ENUM_VALUE_SAME_NAME";
    let alias = "enum E { option allow_alias = true; Z = 0; A = 1; B = 1; }";
    check(before, "enum E { Z = 0; B = 1; }", &[rule]);
    check(alias, before, &[rule]);
    check(before, alias, &[]);
}

#[test]
fn a_message_keeps_its_json_format() {
    let before = "syntax = \"proto3\"; package t; message M { optional string a = 1; }";
    let proto2 = "syntax = \"proto2\"; package t; message M { optional string a = 1; }";
    check(before, proto2, &["MESSAGE_SAME_JSON_FORMAT"]);
    check(proto2, before, &[]);
}

#[test]
fn an_enum_keeps_its_json_format() {
    let before = "syntax = \"proto3\"; package t; enum E { Z = 0; }";
    let proto2 = "syntax = \"proto2\"; package t; enum E { Z = 0; }";
    check(before, proto2, &["ENUM_SAME_JSON_FORMAT"]);
    check(proto2, before, &[]);
}

#[test]
fn what_a_message_reserves_stays_reserved() {
    let before = "message M { reserved 2 to 4, 9; reserved \"a\"; }";
    let rule = "RESERVED_MESSAGE_NO_DELETE";
    check(before, "message M { reserved 2 to 4, 9; }", &[rule]);
    check(before, "message M { reserved 2, 4, 9; reserved \"a\"; }", &[rule]);
    check(before, "message M { reserved 2 to 3; reserved \"a\"; }", &[rule, rule]);
    check(before, "message M { reserved 2, 3, 4 to max; reserved \"a\", \"b\"; }", &[]);
}

#[test]
fn what_an_enum_reserves_stays_reserved() {
    let before = "enum E { Z = 0; reserved -3 to -1, 9 to max; reserved \"A\"; }";
    let rule = "RESERVED_ENUM_NO_DELETE";
    check(before, "enum E { Z = 0; reserved -3 to -1, 9 to max; }", &[rule]);
    check(before, "enum E { Z = 0; reserved -3 to -2, 9 to max; reserved \"A\"; }", &[rule]);
    check(before, "enum E { Z = 0; reserved -3 to -1, 9 to 900; reserved \"A\"; }", &[rule]);
    check(before, "enum E { Z = 0; reserved -9 to -1, 8 to max; reserved \"A\"; }", &[]);
}

#[test]
fn a_file_keeps_its_package() {
    let file =
        |package: &str| format!("syntax = \"proto3\"; package {package}; enum E {{ Z = 0; }}");
    check(&file("t.v1"), &file("t.v2"), &["FILE_SAME_PACKAGE"]);
    check(&file("t.v1"), &file("t.v1"), &[]);
}

#[test]
fn a_message_that_is_published_as_such_stays() {
    let before = "message M { N a = 1; } message N {}";
    check(before, "message N {}", &["ROOT_MESSAGE_NO_DELETE"]);
    check(before, "message M { reserved 1; reserved \"a\"; }", &[]);
}
