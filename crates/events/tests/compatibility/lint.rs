//! How a contract is written: the rules of buf's category `STANDARD` that files without services can
//! break, under buf's names. One rule is ours, [`PACKAGE_OPTIONS`]: buf lets the options of other
//! languages be absent, but the contract is to be used from them as it is.

mod tests;

use std::collections::{BTreeMap, BTreeSet};

use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};

/// Every file says how its types are called in other languages.
const PACKAGE_OPTIONS: &str = "PACKAGE_OPTIONS_PRESENT";

/// Lists what the files of a set violation, one violation an entry. Files that are not to be judged, such as
/// those of protobuf itself, stay out of it.
pub(crate) fn violations(set: &FileDescriptorSet) -> Vec<String> {
    let mut violations = Violations::default();
    for file in &set.file {
        names_of_file(file, &mut violations);
        options(file, &mut violations);
        imports(file, set, &mut violations);
        for message in &file.message_type {
            names_of_message(file.package(), message, &mut violations);
        }
        for enumeration in &file.enum_type {
            names_of_enum(file.package(), enumeration, &mut violations);
        }
    }
    same_options(set, &mut violations);
    import_cycles(set, &mut violations);
    violations.0
}

#[derive(Default)]
struct Violations(Vec<String>);

impl Violations {
    fn check(&mut self, holds: bool, rule: &str, what: &str, fix: &str) {
        if !holds {
            self.0.push(format!("{what} [{rule}]. Fix: {fix}."));
        }
    }
}

fn names_of_file(file: &FileDescriptorProto, violations: &mut Violations) {
    let (name, package) = (file.name(), file.package());
    let (folder, base) = name.rsplit_once('/').unwrap_or(("", name));
    let what = format!("file {name} is in package {package:?}");
    let fix = format!("move it to {}/{base}", package.replace('.', "/"));
    violations.check(folder == package.replace('.', "/"), "PACKAGE_DIRECTORY_MATCH", &what, &fix);
    let is_snake = base.strip_suffix(".proto").is_some_and(is_lower_snake);
    violations.check(
        is_snake,
        "FILE_LOWER_SNAKE_CASE",
        &format!("file {name}"),
        "lower_snake.proto",
    );

    let last = package.rsplit('.').next().unwrap_or_default();
    let version = last.strip_prefix('v').unwrap_or_default();
    let is_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    let what = format!("package {package} of {name}");
    violations.check(
        is_version,
        "PACKAGE_VERSION_SUFFIX",
        &what,
        "end it with a version such as v1",
    );
    let is_snake = package.split('.').all(is_lower_snake);
    violations.check(is_snake, "PACKAGE_LOWER_SNAKE_CASE", &what, "write it in lower_snake.case");
}

/// The options that say how the types of a file are called in other languages.
fn named_options(file: &FileDescriptorProto) -> [(&'static str, String); 4] {
    let options = file.options.clone().unwrap_or_default();
    [
        ("CSHARP_NAMESPACE", options.csharp_namespace().to_owned()),
        ("GO_PACKAGE", options.go_package().to_owned()),
        ("JAVA_MULTIPLE_FILES", options.java_multiple_files().to_string()),
        ("JAVA_PACKAGE", options.java_package().to_owned()),
    ]
}

fn options(file: &FileDescriptorProto, violations: &mut Violations) {
    for (option, value) in named_options(file) {
        let is_present = !value.is_empty() && value != "false";
        let option = option.to_lowercase();
        let what = format!("file {} has no option {option}", file.name());
        violations.check(is_present, PACKAGE_OPTIONS, &what, "add it, as the other files have it");
    }
}

/// The files of a package agree on their options.
fn same_options(set: &FileDescriptorSet, violations: &mut Violations) {
    let mut known = BTreeMap::new();
    for file in &set.file {
        for (option, value) in named_options(file) {
            let first = known.entry((file.package(), option)).or_insert_with(|| value.clone());
            let what =
                format!("file {} has {value:?}, another one of its package {first:?}", file.name());
            let fix = "give them one value";
            violations.check(*first == value, &format!("PACKAGE_SAME_{option}"), &what, fix);
        }
    }
}

fn imports(file: &FileDescriptorProto, set: &FileDescriptorSet, violations: &mut Violations) {
    let name = file.name();
    let is_public = !file.public_dependency.is_empty();
    violations.check(!is_public, "IMPORT_NO_PUBLIC", &format!("file {name}"), "import it plainly");
    let mut used = BTreeSet::new();
    for message in &file.message_type {
        types_of(message, &mut used);
    }
    for import in &file.dependency {
        let Some(imported) = set.file.iter().find(|file| file.name() == import) else { continue };
        let package = imported.package();
        let messages = imported.message_type.iter().map(DescriptorProto::name);
        let enums = imported.enum_type.iter().map(EnumDescriptorProto::name);
        let is_used = messages.chain(enums).any(|it| used.contains(&*format!(".{package}.{it}")));
        let what = format!("file {name} imports {import} and uses nothing of it");
        violations.check(is_used, "IMPORT_USED", &what, "remove the import");
    }
}

/// The types of a message's fields, and of those within it.
fn types_of<'a>(message: &'a DescriptorProto, used: &mut BTreeSet<&'a str>) {
    used.extend(message.field.iter().map(prost_types::FieldDescriptorProto::type_name));
    for nested in &message.nested_type {
        types_of(nested, used);
    }
}

/// Packages do not import each other in a circle: each can be generated by itself.
fn import_cycles(set: &FileDescriptorSet, violations: &mut Violations) {
    let package_of: BTreeMap<_, _> =
        set.file.iter().map(|file| (file.name(), file.package())).collect();
    let mut imports: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in &set.file {
        let others = file.dependency.iter().filter_map(|import| package_of.get(&**import).copied());
        let others = others.filter(|other| *other != file.package());
        imports.entry(file.package()).or_default().extend(others);
    }
    for package in imports.keys() {
        let mut reached: BTreeSet<&str> = BTreeSet::new();
        let mut next = vec![*package];
        while let Some(one) = next.pop() {
            next.extend(imports[one].iter().filter(|other| reached.insert(other)));
        }
        let what = format!("package {package} imports itself by way of others");
        let fix = "move what both need into a package of its own";
        violations.check(!reached.contains(package), "PACKAGE_NO_IMPORT_CYCLE", &what, fix);
    }
}

fn names_of_message(scope: &str, message: &DescriptorProto, violations: &mut Violations) {
    // What a map is made of bears the name that the compiler gives it.
    if message.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry) {
        return;
    }
    let name = format!("{scope}.{}", message.name());
    let what = format!("message {name}");
    violations.check(is_pascal(message.name()), "MESSAGE_PASCAL_CASE", &what, "PascalCase");
    for field in &message.field {
        let what = format!("field {} of {name}", field.name());
        violations.check(
            is_lower_snake(field.name()),
            "FIELD_LOWER_SNAKE_CASE",
            &what,
            "lower_snake",
        );
    }
    for oneof in &message.oneof_decl {
        // The compiler makes a oneof of each optional field, under the field's name.
        let own = oneof.name().trim_start_matches('_');
        let what = format!("oneof {own} of {name}");
        violations.check(is_lower_snake(own), "ONEOF_LOWER_SNAKE_CASE", &what, "lower_snake");
    }
    for nested in &message.nested_type {
        names_of_message(&name, nested, violations);
    }
    for nested in &message.enum_type {
        names_of_enum(&name, nested, violations);
    }
}

fn names_of_enum(scope: &str, enumeration: &EnumDescriptorProto, violations: &mut Violations) {
    let name = format!("{scope}.{}", enumeration.name());
    let what = format!("enum {name}");
    violations.check(is_pascal(enumeration.name()), "ENUM_PASCAL_CASE", &what, "PascalCase");
    let options = enumeration.options.clone().unwrap_or_default();
    violations.check(
        !options.allow_alias(),
        "ENUM_NO_ALLOW_ALIAS",
        &what,
        "give each its own number",
    );
    let prefix = format!("{}_", upper_snake(enumeration.name()));
    for value in &enumeration.value {
        let what = format!("value {} of {name}", value.name());
        let is_upper = is_lower_snake(&value.name().to_lowercase())
            && !value.name().bytes().any(|byte| byte.is_ascii_lowercase());
        violations.check(is_upper, "ENUM_VALUE_UPPER_SNAKE_CASE", &what, "UPPER_SNAKE");
        let has_prefix = value.name().starts_with(&prefix);
        violations.check(
            has_prefix,
            "ENUM_VALUE_PREFIX",
            &what,
            &format!("begin it with {prefix}"),
        );
        let is_unspecified = value.name().ends_with("_UNSPECIFIED");
        let fix = "0, and only 0, ends with _UNSPECIFIED";
        violations.check(
            (value.number() == 0) == is_unspecified,
            "ENUM_ZERO_VALUE_SUFFIX",
            &what,
            fix,
        );
    }
}

fn is_lower_snake(name: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty()
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    name.split('_').all(is_word)
}

fn is_pascal(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// `ReleaseReason` → `RELEASE_REASON`.
fn upper_snake(name: &str) -> String {
    let mut upper = String::new();
    for (index, letter) in name.chars().enumerate() {
        if index > 0 && letter.is_ascii_uppercase() {
            upper.push('_');
        }
        upper.push(letter.to_ascii_uppercase());
    }
    upper
}
