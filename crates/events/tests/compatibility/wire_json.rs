//! Which changes of a contract break its wire or its JSON form: the rules of buf's category
//! `WIRE_JSON`.
//!
//! Messages and enums are compared under their full names, fields and values under their numbers.
//! Each violation names its place, the rule by buf's name, and the fix.
//!
//! Rules of the category that proto3 files without services cannot break are left out: those on
//! RPCs, on required fields and on default values. Required fields and defaults need proto2, and a
//! type that leaves proto3 violations the rules on the JSON format. One rule is ours,
//! [`ROOT`]: buf lets a message disappear that is the type of no field, but ours is then what a
//! subject carries.

mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet, MessageOptions,
    field_descriptor_proto::{Label, Type},
};

/// A message that is the type of no field is published as such; it stays.
const ROOT: &str = "ROOT_MESSAGE_NO_DELETE";

/// Lists what breaks readers of `before` when `after` takes its place, one violation an entry. Empty
/// means compatible.
pub(crate) fn breaking(before: &FileDescriptorSet, after: &FileDescriptorSet) -> Vec<String> {
    let (before, after) = (&Contract::of(before), &Contract::of(after));
    let mut violations = Violations::default();
    for (name, old) in &before.files {
        if let Some(new) = after.files.get(name) {
            file(old, new, &mut violations);
        }
    }
    for (name, old) in &before.messages {
        match after.messages.get(name) {
            Some(new) => message(name, (before, old), (after, new), &mut violations),
            None if before.is_root(name) => {
                violations.add(ROOT, &format!("message {name}"), "was deleted", "keep it");
            }
            None => {}
        }
    }
    for (name, old) in &before.enums {
        if let Some(new) = after.enums.get(name) {
            enumeration(name, old, new, &mut violations);
        }
    }
    violations.0
}

/// What was found so far.
#[derive(Default)]
struct Violations(Vec<String>);

impl Violations {
    fn add(&mut self, rule: &str, place: &str, what: &str, fix: &str) {
        self.0.push(format!("{place} {what} [{rule}]. Fix: {fix}."));
    }
}

/// A descriptor set by full names, which are without a leading dot.
struct Contract<'a> {
    files: BTreeMap<&'a str, &'a FileDescriptorProto>,
    messages: BTreeMap<String, Defined<&'a DescriptorProto>>,
    enums: BTreeMap<String, Defined<&'a EnumDescriptorProto>>,
}

/// A type, and whether its file is proto3, from which its JSON format follows.
struct Defined<T> {
    descriptor: T,
    is_proto3: bool,
}

impl<'a> Contract<'a> {
    fn of(set: &'a FileDescriptorSet) -> Self {
        let mut contract =
            Self { files: BTreeMap::new(), messages: BTreeMap::new(), enums: BTreeMap::new() };
        for file in &set.file {
            contract.files.insert(file.name(), file);
            let is_proto3 = file.syntax() == "proto3";
            contract.define(file.package(), &file.message_type, &file.enum_type, is_proto3);
        }
        contract
    }

    fn define(
        &mut self,
        scope: &str,
        messages: &'a [DescriptorProto],
        enums: &'a [EnumDescriptorProto],
        is_proto3: bool,
    ) {
        for descriptor in messages {
            let name = format!("{scope}.{}", descriptor.name());
            self.define(&name, &descriptor.nested_type, &descriptor.enum_type, is_proto3);
            self.messages.insert(name, Defined { descriptor, is_proto3 });
        }
        for descriptor in enums {
            let name = format!("{scope}.{}", descriptor.name());
            self.enums.insert(name, Defined { descriptor, is_proto3 });
        }
    }

    /// Tells whether no field of another message is of the type `name`.
    fn is_root(&self, name: &str) -> bool {
        let mut others = self.messages.iter().filter(|(other, _)| *other != name);
        !others.any(|(_, other)| other.descriptor.field.iter().any(|field| target(field) == name))
    }

    /// Names how often a field occurs. Fields with and without presence have one form and one name.
    fn cardinality(&self, field: &FieldDescriptorProto) -> &'static str {
        let is_map = || {
            let entry = self.messages.get(target(field));
            let options = entry.and_then(|entry| entry.descriptor.options.as_ref());
            options.is_some_and(MessageOptions::map_entry)
        };
        match field.label() {
            Label::Optional => "singular",
            Label::Required => "required",
            Label::Repeated if is_map() => "map",
            Label::Repeated => "repeated",
        }
    }
}

fn file(old: &FileDescriptorProto, new: &FileDescriptorProto, violations: &mut Violations) {
    if old.package() != new.package() {
        let what = format!("changed its package from {} to {}", old.package(), new.package());
        let fix = "restore the package; a new version is a new file";
        violations.add("FILE_SAME_PACKAGE", &format!("file {}", old.name()), &what, fix);
    }
}

fn message(
    name: &str,
    (before, old): (&Contract<'_>, &Defined<&DescriptorProto>),
    (after, new): (&Contract<'_>, &Defined<&DescriptorProto>),
    violations: &mut Violations,
) {
    let place = format!("message {name}");
    json_format("MESSAGE_SAME_JSON_FORMAT", &place, old.is_proto3, new.is_proto3, violations);

    let (old, new) = (old.descriptor, new.descriptor);
    let reserved = Reserved::of_message(new);
    Reserved::of_message(old).kept_by(&reserved, "RESERVED_MESSAGE_NO_DELETE", &place, violations);
    for old_field in &old.field {
        let place = format!("field {} ({}) of {name}", old_field.name(), old_field.number());
        let Some(new_field) = new.field.iter().find(|it| it.number() == old_field.number()) else {
            let names = BTreeSet::from([old_field.name()]);
            reserved.takes(old_field.number(), &names, "FIELD", &place, violations);
            continue;
        };
        field_names(&place, old_field, new_field, violations);
        field_oneof(&place, oneof(old, old_field), oneof(new, new_field), violations);
        field_type(&place, (before, old_field), (after, new_field), violations);
    }
}

fn field_names(
    place: &str,
    old: &FieldDescriptorProto,
    new: &FieldDescriptorProto,
    violations: &mut Violations,
) {
    if old.name() != new.name() {
        let what = format!("was renamed to {}", new.name());
        let fix = "restore the name, or reserve it with its number and add a new field";
        violations.add("FIELD_SAME_NAME", place, &what, fix);
    }
    if old.json_name() != new.json_name() {
        let what = format!("is {} in JSON instead of {}", new.json_name(), old.json_name());
        let fix = format!("add [json_name = \"{}\"]", old.json_name());
        violations.add("FIELD_SAME_JSON_NAME", place, &what, &fix);
    }
}

fn field_oneof(place: &str, old: Option<&str>, new: Option<&str>, violations: &mut Violations) {
    if old != new {
        let describe = |it: Option<&str>| it.map_or("no oneof".into(), |it| format!("oneof {it}"));
        let what = format!("moved from {} to {}", describe(old), describe(new));
        violations.add("FIELD_SAME_ONEOF", place, &what, "move it back, or add a new field");
    }
}

fn field_type(
    place: &str,
    (before, old): (&Contract<'_>, &FieldDescriptorProto),
    (after, new): (&Contract<'_>, &FieldDescriptorProto),
    violations: &mut Violations,
) {
    let fix = "restore it, or reserve the field and add a new one";
    let (was, is) = (before.cardinality(old), after.cardinality(new));
    if was != is {
        let what = format!("changed from {was} to {is}");
        violations.add("FIELD_WIRE_JSON_COMPATIBLE_CARDINALITY", place, &what, fix);
    }
    let is_compatible = match (form(old.r#type()), form(new.r#type())) {
        (was, is) if was != is => false,
        (Type::Message | Type::Group, _) => target(old) == target(new),
        (Type::Enum, _) => target(old) == target(new) || is_moved_enum((before, old), (after, new)),
        _ => true,
    };
    if !is_compatible {
        let what = format!("changed from {} to {}", type_name(old), type_name(new));
        violations.add("FIELD_WIRE_JSON_COMPATIBLE_TYPE", place, &what, fix);
    }
}

fn enumeration(
    name: &str,
    old: &Defined<&EnumDescriptorProto>,
    new: &Defined<&EnumDescriptorProto>,
    violations: &mut Violations,
) {
    let place = format!("enum {name}");
    json_format("ENUM_SAME_JSON_FORMAT", &place, old.is_proto3, new.is_proto3, violations);

    let reserved = Reserved::of_enum(new.descriptor);
    let old_reserved = Reserved::of_enum(old.descriptor);
    old_reserved.kept_by(&reserved, "RESERVED_ENUM_NO_DELETE", &place, violations);
    let new = values(new.descriptor);
    for (number, old_names) in values(old.descriptor) {
        let listed = list(&old_names);
        let place = format!("value {listed} ({number}) of {name}");
        match new.get(&number) {
            None => reserved.takes(number, &old_names, "ENUM_VALUE", &place, violations),
            // Another alias may come; none may go.
            Some(new_names) if old_names.is_subset(new_names) => {}
            Some(new_names) => {
                let what = format!("was renamed to {}", list(new_names));
                let fix = format!("restore {listed}");
                violations.add("ENUM_VALUE_SAME_NAME", &place, &what, &fix);
            }
        }
    }
}

fn json_format(rule: &str, place: &str, old: bool, new: bool, violations: &mut Violations) {
    if old && !new {
        let what = "left proto3, and with it the guarantee of a JSON form";
        violations.add(rule, place, what, "restore syntax = \"proto3\"");
    }
}

/// The numbers and names that a type keeps free.
struct Reserved<'a> {
    numbers: Vec<RangeInclusive<i32>>,
    names: BTreeSet<&'a str>,
}

impl<'a> Reserved<'a> {
    fn of_message(message: &'a DescriptorProto) -> Self {
        // In a message the end of a range is exclusive, in an enum it is not.
        let numbers = message.reserved_range.iter().map(|it| it.start()..=it.end() - 1).collect();
        Self { numbers, names: message.reserved_name.iter().map(String::as_str).collect() }
    }

    fn of_enum(enumeration: &'a EnumDescriptorProto) -> Self {
        let numbers = enumeration.reserved_range.iter().map(|it| it.start()..=it.end()).collect();
        Self { numbers, names: enumeration.reserved_name.iter().map(String::as_str).collect() }
    }

    /// Checks that what this type reserves is reserved in `new` too.
    fn kept_by(&self, new: &Reserved<'_>, rule: &str, place: &str, violations: &mut Violations) {
        for number in self.numbers.iter().filter_map(|range| new.first_free(range)) {
            let what = format!("reserved the number {number} and no longer does");
            violations.add(rule, place, &what, &format!("restore `reserved {number};`"));
        }
        for name in self.names.difference(&new.names) {
            let what = format!("reserved the name {name} and no longer does");
            violations.add(rule, place, &what, &format!("restore `reserved \"{name}\";`"));
        }
    }

    /// Checks that the number and the names of what was deleted at `place` are reserved. `kind`
    /// begins the rule.
    fn takes(
        &self,
        number: i32,
        names: &BTreeSet<&str>,
        kind: &str,
        place: &str,
        violations: &mut Violations,
    ) {
        if self.first_free(&(number..=number)).is_some() {
            let rule = format!("{kind}_NO_DELETE_UNLESS_NUMBER_RESERVED");
            let what = "was deleted without reserving its number";
            violations.add(&rule, place, what, &format!("restore it, or add `reserved {number};`"));
        }
        for name in names.difference(&self.names) {
            let rule = format!("{kind}_NO_DELETE_UNLESS_NAME_RESERVED");
            let what = "was deleted without reserving its name";
            violations.add(
                &rule,
                place,
                what,
                &format!("restore it, or add `reserved \"{name}\";`"),
            );
        }
    }

    /// The first number of `range` that is not reserved.
    fn first_free(&self, range: &RangeInclusive<i32>) -> Option<i32> {
        let mut next = *range.start();
        while let Some(reserved) = self.numbers.iter().find(|reserved| reserved.contains(&next)) {
            if reserved.end() >= range.end() {
                return None;
            }
            next = reserved.end() + 1;
        }
        Some(next)
    }
}

/// The type that represents all of the same form on the wire and in JSON.
fn form(kind: Type) -> Type {
    match kind {
        Type::Uint32 => Type::Int32,
        Type::Uint64 => Type::Int64,
        Type::Sfixed32 => Type::Fixed32,
        Type::Sfixed64 => Type::Fixed64,
        other => other,
    }
}

/// Tells whether an enum only moved: the new one has the same short name and all values of the old
/// one.
fn is_moved_enum(
    (before, old): (&Contract<'_>, &FieldDescriptorProto),
    (after, new): (&Contract<'_>, &FieldDescriptorProto),
) -> bool {
    let (old, new) = (&before.enums[target(old)].descriptor, &after.enums[target(new)].descriptor);
    let new_values = values(new);
    old.name() == new.name()
        && values(old).iter().all(|(number, names)| {
            new_values.get(number).is_some_and(|new_names| names.is_subset(new_names))
        })
}

/// The values of an enum: the number, and its name with its aliases.
fn values(enumeration: &EnumDescriptorProto) -> BTreeMap<i32, BTreeSet<&str>> {
    let mut values: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for value in &enumeration.value {
        values.entry(value.number()).or_default().insert(value.name());
    }
    values
}

/// The oneof that a field is a member of. The compiler's own, around an `optional` field, is none.
fn oneof<'a>(message: &'a DescriptorProto, field: &FieldDescriptorProto) -> Option<&'a str> {
    let index = field.oneof_index.filter(|_| !field.proto3_optional())?;
    Some(message.oneof_decl[index as usize].name())
}

/// The full name of the message or enum that is the type of a field.
fn target(field: &FieldDescriptorProto) -> &str {
    field.type_name().trim_start_matches('.')
}

/// The type of a field as it is written.
fn type_name(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Group | Type::Enum => target(field).to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    }
}

fn list(names: &BTreeSet<&str>) -> String {
    names.iter().copied().collect::<Vec<_>>().join(", ")
}
