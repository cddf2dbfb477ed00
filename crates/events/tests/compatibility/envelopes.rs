//! The engine's envelopes and those of the contract are one message on the wire: the engine writes and
//! reads its part without knowing the rest.

use std::collections::BTreeSet;

use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet, field_descriptor_proto::Type,
};

use crate::compile_files;

/// The first number of a service's own field.
const FIRST_OWN: i32 = 16;

/// Lists how `whole`, a message of the contract, differs from `envelope`, the engine's part of it.
pub(crate) fn differences(set: &FileDescriptorSet, whole: &str, envelope: &str) -> Vec<String> {
    let [whole, envelope] = [whole, envelope].map(|name| message(set, name));
    let own = envelope.field.iter().filter(|field| field.number() >= FIRST_OWN);
    let mut differences: Vec<_> =
        own.map(|field| format!("{} of the engine has a service's number", field.name())).collect();
    differences.extend(compare(set, envelope, whole));
    differences
}

fn compare(
    set: &FileDescriptorSet,
    engine: &DescriptorProto,
    contract: &DescriptorProto,
) -> Vec<String> {
    let numbers = engine.field.iter().chain(&contract.field).map(FieldDescriptorProto::number);
    let numbers: BTreeSet<_> = numbers.filter(|number| *number < FIRST_OWN).collect();
    let of = |message: &DescriptorProto, number| {
        message.field.iter().find(|field| field.number() == number).cloned()
    };
    let compare = |number| match (of(engine, number), of(contract, number)) {
        (Some(engine), Some(contract)) => compare_fields(set, &engine, &contract),
        (engine, contract) => {
            let only = engine.or(contract).expect("one of them has it");
            vec![format!("only one of them has {} ({number})", only.name())]
        }
    };
    numbers.into_iter().flat_map(compare).collect()
}

fn compare_fields(
    set: &FileDescriptorSet,
    engine: &FieldDescriptorProto,
    contract: &FieldDescriptorProto,
) -> Vec<String> {
    let is_named_alike = engine.name() == contract.name() && engine.label() == contract.label();
    let is_same = match (engine.r#type(), contract.r#type()) {
        (Type::Message, Type::Message) if engine.type_name() != contract.type_name() => {
            let [engine, contract] = [engine, contract].map(|it| message(set, it.type_name()));
            return compare(set, engine, contract);
        }
        // The engine does not look into it.
        (Type::Bytes, Type::Message | Type::String) => true,
        (engine, contract) => engine == contract,
    };
    if is_named_alike && is_same {
        return Vec::new();
    }
    vec![format!("{} ({}) is not the same in both", engine.name(), engine.number())]
}

/// The message of that full name.
fn message<'a>(set: &'a FileDescriptorSet, name: &str) -> &'a DescriptorProto {
    let name = name.trim_start_matches('.');
    let messages = set.file.iter().flat_map(|file| {
        let scope = file.package();
        file.message_type.iter().flat_map(move |outer| {
            let own = format!("{scope}.{}", outer.name());
            let nested = outer.nested_type.iter().map({
                let own = own.clone();
                move |nested| (format!("{own}.{}", nested.name()), nested)
            });
            std::iter::once((own, outer)).chain(nested)
        })
    });
    let found = messages.into_iter().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("there is no {name}")).1
}

#[test]
fn a_difference_is_found_where_the_engine_reads() {
    let of = |envelope: &str, whole: &str| {
        let text = format!(
            "syntax = \"proto3\"; package p; message C {{}} message Part {{ string b = 1; }} \
             message E {{ {envelope} }} message W {{ {whole} }}"
        );
        differences(&compile_files(vec![("p.proto".into(), text)]), "p.W", "p.E").len()
    };
    let after = "map<string, uint64> after = 1;";
    assert_eq!(of(after, &format!("{after} oneof body {{ C own = 16; }}")), 0);
    assert_eq!(of(after, "map<string, string> after = 1;"), 1);
    assert_eq!(of("bytes body = 3;", "C body = 3;"), 0);
    assert_eq!(of("C body = 3;", "bytes body = 3;"), 1);
    assert_eq!(of("string id = 1;", "string name = 1;"), 1);
    assert_eq!(of("string id = 1;", "repeated string id = 1;"), 1);
    assert_eq!(of("string id = 1;", ""), 1);
    assert_eq!(of("", "string id = 1;"), 1);
    assert_eq!(of("string id = 16;", "string id = 16;"), 1);
    assert_eq!(of("Part part = 1;", "C part = 1;"), 1);
}
