//! The contract explains itself: whoever reads a `.proto` file needs no other page.

use std::collections::BTreeSet;

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet, MessageOptions,
};

use crate::compile_text;

/// Lists the messages, fields, oneofs, enums and values that have no comment directly above them.
///
/// The set must carry source information.
pub(crate) fn uncommented(set: &FileDescriptorSet) -> Vec<String> {
    set.file.iter().flat_map(in_file).collect()
}

fn in_file(file: &FileDescriptorProto) -> Vec<String> {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    let mut walk = Walk {
        commented: locations
            .filter(|location| !location.leading_comments().trim().is_empty())
            .map(|location| location.path.as_slice())
            .collect(),
        missing: Vec::new(),
    };
    for (message, index) in file.message_type.iter().zip(0..) {
        walk.message(file.package(), message, &[4, index]);
    }
    for (enumeration, index) in file.enum_type.iter().zip(0..) {
        walk.enumeration(file.package(), enumeration, &[5, index]);
    }
    walk.missing
}

/// A walk through a file's definitions. A path is made of the field numbers of `descriptor.proto`
/// and of indexes, as in the file's source information.
struct Walk<'a> {
    commented: BTreeSet<&'a [i32]>,
    missing: Vec<String>,
}

impl Walk<'_> {
    fn message(&mut self, scope: &str, message: &DescriptorProto, path: &[i32]) {
        // The compiler makes an entry of each map; there is nothing to comment.
        if message.options.as_ref().is_some_and(MessageOptions::map_entry) {
            return;
        }
        let name = format!("{scope}.{}", message.name());
        for (field, index) in message.field.iter().zip(0..) {
            self.see(&format!("{name}.{}", field.name()), path, [2, index]);
        }
        for (nested, index) in message.nested_type.iter().zip(0..) {
            self.message(&name, nested, &below(path, [3, index]));
        }
        for (enumeration, index) in message.enum_type.iter().zip(0..) {
            self.enumeration(&name, enumeration, &below(path, [4, index]));
        }
        for (oneof, index) in message.oneof_decl.iter().zip(0..) {
            // Around an `optional` field the compiler puts a oneof of its own.
            let mut members = message.field.iter().filter(|it| it.oneof_index == Some(index));
            if !members.any(FieldDescriptorProto::proto3_optional) {
                self.see(&format!("{name}.{}", oneof.name()), path, [8, index]);
            }
        }
        self.see_at(&name, path);
    }

    fn enumeration(&mut self, scope: &str, enumeration: &EnumDescriptorProto, path: &[i32]) {
        let name = format!("{scope}.{}", enumeration.name());
        for (value, index) in enumeration.value.iter().zip(0..) {
            self.see(&format!("{name}.{}", value.name()), path, [2, index]);
        }
        self.see_at(&name, path);
    }

    fn see(&mut self, name: &str, parent: &[i32], step: [i32; 2]) {
        self.see_at(name, &below(parent, step));
    }

    fn see_at(&mut self, name: &str, path: &[i32]) {
        if !self.commented.contains(path) {
            self.missing.push(name.to_owned());
        }
    }
}

fn below(path: &[i32], step: [i32; 2]) -> Vec<i32> {
    [path, &step].concat()
}

#[test]
fn what_has_no_comment_is_named() {
    let text = "syntax = \"proto3\"; package t;
        // M.
        message M {
          string bare = 1;
          // A.
          string a = 2;
          // A map.
          map<string, string> map = 3;
          oneof choice {
            // B.
            string b = 4;
          }
          message Nested {}
          // C.
          optional string c = 5;
        }

        // Detached.

        enum E {
          ZERO = 0;
          // D.
          D = 1;
        }";
    let missing = uncommented(&compile_text(text));
    assert_eq!(missing, ["t.M.bare", "t.M.Nested", "t.M.choice", "t.E.ZERO", "t.E"]);
}
