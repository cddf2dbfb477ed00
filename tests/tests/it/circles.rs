//! The files of a crate import each other in one direction, so that each can be read with what stands below it alone.
//!
//! A file may use what a module around it declares: that is how Rust gives the parts of a module their names. An import
//! that is only in a macro is not seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, Item, ItemMod, ItemUse, UseTree,
    visit::{self, Visit},
};

/// A module, by the names of those around it and its own.
type Name = Vec<String>;

#[test]
fn files_of_a_crate_import_in_one_direction() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    for entry in fs::read_dir(crates).expect("the crates can be listed") {
        let folder = entry.expect("the crates can be listed").path();
        let circle = circles(&imports(&modules(&folder.join("src"))));
        assert!(circle.is_empty(), "in {} these import each other: {circle:?}", folder.display());
    }
}

#[test]
fn a_circle_is_found_and_what_leads_to_it_is_left_out() {
    let of = |modules: &[(&str, &str)]| {
        let name = |text: &str| -> Name {
            text.split("::").filter(|it| !it.is_empty()).map(str::to_owned).collect()
        };
        let modules = modules
            .iter()
            .map(|(module, text)| (name(module), syn::parse_file(text).expect("it is Rust")));
        circles(&imports(&modules.collect()))
    };
    let none = BTreeSet::new();
    let all = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(of(&[("", "mod a; mod b;"), ("a", "use crate::b::B;"), ("b", "")]), none);
    let circle = [
        ("", "mod a; mod b; mod c; mod d;"),
        ("a", "use crate::{b::B, d};"),
        ("b", "fn f(c: super::c::C) {}"),
        ("c", "use super::b::{self, B};"),
        ("d", ""),
    ];
    assert_eq!(of(&circle), all(&["b", "c"]));
    // What is around a module names its parts; and tests see what they test.
    let around = [
        ("", "mod a;"),
        ("a", "mod b; use self::b::B; struct A; #[cfg(test)] mod tests { use crate::c::C; }"),
        ("a::b", "use super::A;"),
        ("c", "use crate::a::A;"),
    ];
    assert_eq!(of(&around), none);
    let parts =
        [("a", "mod b; mod c;"), ("a::b", "fn f() { super::c::g() }"), ("a::c", "use super::b;")];
    assert_eq!(of(&parts), all(&["a::b", "a::c"]));
}

/// The files of a crate, but for its tests, by their modules.
fn modules(source: &Path) -> BTreeMap<Name, syn::File> {
    let mut modules = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(source.join(&folder)).expect("the folder can be listed") {
            let path = entry.expect("the folder can be listed").path();
            let within = path.strip_prefix(source).expect("it is within").to_owned();
            if path.is_dir() {
                folders.push(within);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("it is text");
                let file = syn::parse_file(&text).expect("it is Rust");
                modules.insert(module(&within), file);
            }
        }
    }
    modules.retain(|name, _| !name.iter().any(|part| part == "tests"));
    modules
}

/// The module of a file: `a/b.rs`, `a/b/mod.rs`.
fn module(file: &Path) -> Name {
    let parts = file.with_extension("");
    let mut parts: Name = parts.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    parts.pop_if(|last| ["lib", "main", "mod"].contains(&last.as_str()));
    parts
}

/// Which modules each one imports. What is around a module is left out.
fn imports(modules: &BTreeMap<Name, syn::File>) -> BTreeMap<Name, BTreeSet<Name>> {
    let of_file = |(name, file): (&Name, &syn::File)| {
        let mut paths = Paths::default();
        paths.visit_file(file);
        let imported = paths.found.iter().filter_map(|path| resolve(path, name, modules));
        (name.clone(), imported.filter(|other| !name.starts_with(other)).collect())
    };
    modules.iter().map(of_file).collect()
}

/// The module that a path in a module leads to, if it is one of the crate.
fn resolve(path: &[String], name: &Name, modules: &BTreeMap<Name, syn::File>) -> Option<Name> {
    let mut path = path.iter();
    let mut found = match path.next()?.as_str() {
        "crate" => Name::new(),
        "self" => name.clone(),
        "super" => name.split_last()?.1.to_vec(),
        child => name.iter().cloned().chain([child.to_owned()]).collect(),
    };
    if !modules.contains_key(&found) {
        return None;
    }
    for part in path {
        if part == "super" {
            found.pop();
            continue;
        }
        let inner: Name = found.iter().cloned().chain([part.clone()]).collect();
        if !modules.contains_key(&inner) {
            break;
        }
        found = inner;
    }
    Some(found)
}

/// The modules that are reached from themselves.
fn circles(imports: &BTreeMap<Name, BTreeSet<Name>>) -> BTreeSet<String> {
    let is_in_circle = |name: &Name| {
        let (mut seen, mut ahead) = (BTreeSet::new(), vec![name]);
        while let Some(next) = ahead.pop() {
            let further = imports.get(next).into_iter().flatten();
            ahead.extend(further.filter(|it| seen.insert(*it)));
        }
        seen.contains(name)
    };
    imports.keys().filter(|name| is_in_circle(name)).map(|name| name.join("::")).collect()
}

/// The paths of a file, as they are written.
#[derive(Default)]
struct Paths {
    found: Vec<Vec<String>>,
}

impl Paths {
    fn add(&mut self, before: &[String], tree: &UseTree) {
        let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.add(&with(&path.ident), &path.tree),
            UseTree::Name(name) => self.found.push(with(&name.ident)),
            UseTree::Rename(rename) => self.found.push(with(&rename.ident)),
            UseTree::Glob(_) => self.found.push(before.to_vec()),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add(before, tree)),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast Item) {
        if let Item::Mod(ItemMod { attrs, .. }) = item
            && attrs.iter().any(is_for_tests)
        {
            return;
        }
        visit::visit_item(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.found.push(path.segments.iter().map(|part| part.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }
}

fn is_for_tests(attribute: &Attribute) -> bool {
    let test = |it: syn::Ident| it == "test";
    attribute.path().is_ident("cfg") && attribute.parse_args().is_ok_and(test)
}
