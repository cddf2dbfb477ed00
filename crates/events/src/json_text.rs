//! The protobuf JSON form of an encoded message, written straight from its bytes: what is rendered for
//! every reader and every webhook is neither decoded into a message nor built as a value.
//!
//! The shape of each message is read from the descriptors once. Members of an object are in the order
//! of their names. What our own encoder never writes, such as a message in two parts, is left to
//! [`to_json`](crate::json::to_json), as are kinds of fields that no event has.

mod encoded;
mod values;

use std::{collections::HashMap, io::Write};

use data_encoding::BASE64;
use prost::{Message, encoding::decode_varint};
use prost_reflect::{FieldDescriptor, MessageDescriptor};

use self::encoded::{Encoded, next_field};
pub(crate) use self::{
    encoded::members,
    values::{write_text, write_time},
};
use crate::json::POOL;

/// How deep messages may lie in each other.
const MAX_DEPTH: usize = 32;

/// The bytes are none that can be written so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unwritable;

/// A message, by its index among the [`Shapes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShapeId(usize);

/// The shapes of messages.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    shapes: Vec<Shape>,
    by_name: HashMap<String, usize>,
}

/// What a message looks like.
#[derive(Debug, Default)]
struct Shape {
    /// Its fields, in the order of their names in JSON.
    fields: Vec<Field>,
    /// The indexes of the fields by their numbers, in ascending order.
    by_number: Vec<(u32, usize)>,
    /// The same of the fields that come from the message around it.
    by_number_around: Vec<(u32, usize)>,
}

#[derive(Debug)]
struct Field {
    /// Its name as it begins a member: `"name":`.
    key: String,
    kind: Kind,
    is_list: bool,
    /// Whether a value that is the default is a value: the field knows that it is set.
    has_presence: bool,
    /// The `oneof` that it is a member of.
    oneof: Option<usize>,
}

#[derive(Debug)]
enum Kind {
    Bool,
    Int32,
    Uint32,
    Int64,
    Uint64,
    String,
    Bytes,
    /// The names of its values by their numbers.
    Enum(Vec<(i32, String)>),
    Timestamp,
    Message(ShapeId),
    /// What no event has.
    Other,
}

/// A field as it is in the bytes of a message.
#[derive(Debug, Clone, Copy)]
struct Found<'a> {
    /// The index of the field.
    field: usize,
    value: Encoded<'a>,
}

impl Shapes {
    /// Reads the shapes of all messages of the contract.
    pub(crate) fn read() -> Self {
        let mut shapes = Self::default();
        for message in POOL.all_messages() {
            shapes.add(&message);
        }
        shapes
    }

    fn add(&mut self, message: &MessageDescriptor) -> ShapeId {
        if let Some(known) = self.by_name.get(message.full_name()) {
            return ShapeId(*known);
        }
        let index = self.shapes.len();
        self.by_name.insert(message.full_name().to_owned(), index);
        self.shapes.push(Shape::default());
        self.shapes[index] = self.shape(message, &[]);
        ShapeId(index)
    }

    /// Adds the shape of a message that is written together with some fields of the message around it, as
    /// one object.
    pub(crate) fn join(
        &mut self,
        message: &MessageDescriptor,
        around: &[FieldDescriptor],
    ) -> ShapeId {
        let shape = self.shape(message, around);
        self.shapes.push(shape);
        ShapeId(self.shapes.len() - 1)
    }

    fn shape(&mut self, message: &MessageDescriptor, around: &[FieldDescriptor]) -> Shape {
        let mut fields: Vec<_> = message.fields().chain(around.iter().cloned()).collect();
        fields.sort_by(|a, b| a.json_name().cmp(b.json_name()));
        let by_number = |is_around: bool| {
            let fields = fields.iter().enumerate();
            let fields = fields.filter(|(_, field)| around.contains(field) == is_around);
            let mut by_number: Vec<_> =
                fields.map(|(index, field)| (field.number(), index)).collect();
            by_number.sort_unstable();
            by_number
        };
        let (by_number, by_number_around) = (by_number(false), by_number(true));
        let fields = fields.iter().map(|field| self.field(field)).collect();
        Shape { fields, by_number, by_number_around }
    }

    fn field(&mut self, field: &FieldDescriptor) -> Field {
        use prost_reflect::Kind as Described;
        let kind = match field.kind() {
            _ if field.is_map() => Kind::Other,
            Described::Bool => Kind::Bool,
            Described::Int32 => Kind::Int32,
            Described::Uint32 => Kind::Uint32,
            Described::Int64 => Kind::Int64,
            Described::Uint64 => Kind::Uint64,
            Described::String => Kind::String,
            Described::Bytes => Kind::Bytes,
            Described::Enum(of) => {
                let values = of.values().map(|it| (it.number(), it.name().to_owned()));
                Kind::Enum(values.collect())
            }
            Described::Message(of) => match of.full_name() {
                "google.protobuf.Timestamp" => Kind::Timestamp,
                name if name.starts_with("google.protobuf.") => Kind::Other,
                _ => Kind::Message(self.add(&of)),
            },
            Described::Double
            | Described::Float
            | Described::Sint32
            | Described::Sint64
            | Described::Fixed32
            | Described::Fixed64
            | Described::Sfixed32
            | Described::Sfixed64 => Kind::Other,
        };
        let of = field.parent_message();
        let oneof = field.containing_oneof();
        Field {
            key: format!("\"{}\":", field.json_name()),
            kind,
            is_list: field.is_list(),
            has_presence: field.supports_presence(),
            oneof: oneof.and_then(|oneof| of.oneofs().position(|it| it == oneof)),
        }
    }

    /// Appends the JSON of a message, given as its bytes and those of the message around it. When it fails,
    /// what it has appended so far is there.
    pub(crate) fn write(
        &self,
        message: ShapeId,
        (bytes, around): (&[u8], &[u8]),
        text: &mut Vec<u8>,
    ) -> Result<(), Unwritable> {
        let shape = self.shapes.get(message.0).ok_or(Unwritable)?;
        let mut found = Vec::new();
        shape.find(&shape.by_number, bytes, 0, &mut found)?;
        if !shape.by_number_around.is_empty() {
            shape.find(&shape.by_number_around, around, 0, &mut found)?;
        }
        self.write_fields(shape, 0, text, &mut found, 0)
    }

    fn write_message<'a>(
        &self,
        message: ShapeId,
        bytes: &'a [u8],
        text: &mut Vec<u8>,
        found: &mut Vec<Found<'a>>,
        depth: usize,
    ) -> Result<(), Unwritable> {
        let shape = self.shapes.get(message.0).filter(|_| depth < MAX_DEPTH).ok_or(Unwritable)?;
        let base = found.len();
        shape.find(&shape.by_number, bytes, base, found)?;
        self.write_fields(shape, base, text, found, depth)
    }

    /// `found` is a stack: each message has its fields on top of those of the messages around it, from `base`
    /// on.
    fn write_fields(
        &self,
        shape: &Shape,
        base: usize,
        text: &mut Vec<u8>,
        found: &mut Vec<Found<'_>>,
        depth: usize,
    ) -> Result<(), Unwritable> {
        text.push(b'{');
        let begin = text.len();
        let mut next = base;
        while next < found.len() {
            let index = found[next].field;
            let end = next + found[next..].iter().take_while(|it| it.field == index).count();
            let field = &shape.fields[index];
            if field.is_list {
                self.write_list(field, text, (found, next..end), begin, depth)?;
            } else {
                // Of a value that is there twice the last one counts.
                let is_message = matches!(field.kind, Kind::Message(_) | Kind::Timestamp);
                if is_message && end - next > 1 {
                    return Err(Unwritable);
                }
                let value = found[end - 1].value;
                if field.has_presence || !value.is_default() {
                    begin_member(field, text, begin);
                    self.write_value(field, value, text, found, depth)?;
                }
            }
            next = end;
        }
        found.truncate(base);
        text.push(b'}');
        Ok(())
    }

    fn write_list(
        &self,
        field: &Field,
        text: &mut Vec<u8>,
        (found, range): (&mut Vec<Found<'_>>, std::ops::Range<usize>),
        begin: usize,
        depth: usize,
    ) -> Result<(), Unwritable> {
        let mut is_empty = true;
        let mut begin_item = |text: &mut Vec<u8>| {
            if std::mem::take(&mut is_empty) {
                begin_member(field, text, begin);
                text.push(b'[');
            } else {
                text.push(b',');
            }
        };
        let is_packable = !matches!(
            field.kind,
            Kind::String | Kind::Bytes | Kind::Timestamp | Kind::Message(_) | Kind::Other
        );
        for index in range {
            let value = found[index].value;
            if let (Encoded::Bytes(mut packed), true) = (value, is_packable) {
                while !packed.is_empty() {
                    let value = decode_varint(&mut packed).map_err(|_| Unwritable)?;
                    begin_item(text);
                    self.write_value(field, Encoded::Varint(value), text, found, depth)?;
                }
            } else {
                begin_item(text);
                self.write_value(field, value, text, found, depth)?;
            }
        }
        if !is_empty {
            text.push(b']');
        }
        Ok(())
    }

    fn write_value<'a>(
        &self,
        field: &Field,
        value: Encoded<'a>,
        text: &mut Vec<u8>,
        found: &mut Vec<Found<'a>>,
        depth: usize,
    ) -> Result<(), Unwritable> {
        let written = match (&field.kind, value) {
            (Kind::Bool, Encoded::Varint(value)) => write!(text, "{}", value != 0),
            (Kind::Int32, Encoded::Varint(value)) => write!(text, "{}", value as i32),
            (Kind::Uint32, Encoded::Varint(value)) => write!(text, "{}", value as u32),
            (Kind::Int64, Encoded::Varint(value)) => write!(text, "\"{}\"", value as i64),
            (Kind::Uint64, Encoded::Varint(value)) => write!(text, "\"{value}\""),
            (Kind::Enum(values), Encoded::Varint(value)) => {
                match values.iter().find(|(number, _)| *number == value as i32) {
                    Some((_, name)) => write!(text, "\"{name}\""),
                    // A value of a later version.
                    None => write!(text, "{}", value as i32),
                }
            }
            (Kind::String, Encoded::Bytes(bytes)) => {
                return write_text(std::str::from_utf8(bytes).map_err(|_| Unwritable)?, text);
            }
            (Kind::Bytes, Encoded::Bytes(bytes)) => {
                write!(text, "\"{}\"", BASE64.encode_display(bytes))
            }
            (Kind::Timestamp, Encoded::Bytes(bytes)) => {
                let time = prost_types::Timestamp::decode(bytes).map_err(|_| Unwritable)?;
                return write_time(&time, text);
            }
            (Kind::Message(shape), Encoded::Bytes(bytes)) => {
                return self.write_message(*shape, bytes, text, found, depth + 1);
            }
            _ => return Err(Unwritable),
        };
        written.map_err(|_| Unwritable)
    }
}

impl Shape {
    /// Notes the fields of a message that have one of these numbers, among those from `base` on: in the order
    /// of their names; those of the same name in the order of the bytes.
    fn find<'a>(
        &self,
        numbers: &[(u32, usize)],
        mut bytes: &'a [u8],
        base: usize,
        found: &mut Vec<Found<'a>>,
    ) -> Result<(), Unwritable> {
        let mut is_sorted = true;
        while let Some((number, value)) = next_field(&mut bytes)? {
            let Ok(at) = numbers.binary_search_by_key(&number, |(number, _)| *number) else {
                // A field of a later version, or of no interest.
                continue;
            };
            let field = numbers[at].1;
            is_sorted &= found[base..].last().is_none_or(|last| last.field <= field);
            found.push(Found { field, value });
        }
        if !is_sorted {
            found[base..].sort_by_key(|it| it.field);
        }
        let oneof = |it: &Found<'_>| self.fields[it.field].oneof.map(|oneof| (oneof, it.field));
        let members = found[base..].iter().filter_map(oneof);
        let mut seen: [Option<usize>; 8] = [None; 8];
        for (oneof, field) in members {
            let seen = seen.get_mut(oneof).ok_or(Unwritable)?;
            if seen.is_some_and(|seen| seen != field) {
                return Err(Unwritable);
            }
            *seen = Some(field);
        }
        Ok(())
    }
}

fn begin_member(field: &Field, text: &mut Vec<u8>, begin: usize) {
    if text.len() > begin {
        text.push(b',');
    }
    text.extend_from_slice(field.key.as_bytes());
}
