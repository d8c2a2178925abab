//! Messages as serde_json and a table of their fields read them, which is what ours must come to.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};
use std::fmt;

/// JSON with every field in its place, those that are given twice, too.
pub(super) enum Node {
    Null,
    Bool(bool),
    Integer(i128),
    /// With a fraction or an exponent, or beyond 64 bits.
    Fraction(f64),
    Text(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

/// A kind of value, and what it is where it is absent.
pub(super) enum Kind {
    Int64,
    Uint64,
    Uint32,
    Bool,
    Text,
    Bytes,
    /// One of these names; of others `None` stands for what they are read as, if they aren't refused.
    Name(&'static [&'static str], Option<&'static str>),
    Message(&'static Message),
    /// One that has this kind somewhere inside.
    Nested(fn() -> &'static Message),
    /// A message that may be absent.
    Optional(&'static Message),
    List(&'static Kind),
    /// A value without which there is no message.
    Required(&'static Kind),
    /// An object with one of these members at least, the last of which counts.
    OneOf(&'static Message),
}

/// The fields of a message.
pub(super) type Message = [(&'static str, Kind)];

/// Why there is nothing to compare with.
#[derive(Debug)]
pub(super) enum Refused {
    /// It is no such message.
    Mismatch,
    /// serde_json doesn't tell how a number was written.
    Unknown,
}

impl Node {
    /// `None`: serde_json refuses it.
    pub(super) fn parse(bytes: &[u8]) -> Option<Node> {
        serde_json::from_slice(bytes).ok()
    }

    /// The fields of an object.
    pub(super) fn fields(&self) -> Option<&[(String, Node)]> {
        match self {
            Node::Object(fields) => Some(fields),
            _ => None,
        }
    }

    /// Whether any object in it has a field twice.
    pub(super) fn repeats_a_field(&self) -> bool {
        match self {
            Node::Object(fields) => fields.iter().enumerate().any(|(place, (name, value))| {
                fields[..place].iter().any(|(other, _)| other == name) || value.repeats_a_field()
            }),
            Node::List(elements) => elements.iter().any(Node::repeats_a_field),
            _ => false,
        }
    }

    /// Reads a message; every field of it is in the result.
    pub(super) fn read(&self, message: &Message) -> Result<Value, Refused> {
        let mut read = default_of(message);
        for (name, value) in self.fields().ok_or(Refused::Mismatch)? {
            match message.iter().find(|(known, _)| known == name) {
                Some((name, kind)) if !matches!(value, Node::Null) => {
                    read.insert((*name).to_owned(), value.read_as(kind)?);
                }
                _ => {}
            }
        }
        let lacks_nothing =
            message.iter().all(|(name, kind)| !matches!(kind, Kind::Required(_)) || !read[*name].is_null());
        if lacks_nothing { Ok(Value::Object(read)) } else { Err(Refused::Mismatch) }
    }

    fn read_as(&self, kind: &Kind) -> Result<Value, Refused> {
        match (kind, self) {
            (Kind::Required(kind), _) => self.read_as(kind),
            (Kind::Int64, _) => Ok(json!(i64::try_from(self.integer()?).or(Err(Refused::Mismatch))?)),
            (Kind::Uint64, _) => Ok(json!(u64::try_from(self.integer()?).or(Err(Refused::Mismatch))?)),
            (Kind::Uint32, _) => Ok(json!(u32::try_from(self.integer()?).or(Err(Refused::Mismatch))?)),
            (Kind::Bool, Node::Bool(value)) => Ok(json!(value)),
            (Kind::Text, Node::Text(text)) => Ok(json!(text)),
            (Kind::Bytes, Node::Text(text)) => Ok(show_bytes(&base64(text).ok_or(Refused::Mismatch)?)),
            (Kind::Name(names, other), Node::Text(text)) => {
                let name = names.contains(&text.as_str()).then_some(text.as_str());
                Ok(json!(name.or(*other).ok_or(Refused::Mismatch)?))
            }
            (Kind::Message(message) | Kind::Optional(message), _) => self.read(message),
            (Kind::Nested(message), _) => self.read(message()),
            (Kind::List(kind), Node::List(elements)) => {
                elements.iter().map(|element| element.read_as(kind)).collect::<Result<Vec<_>, _>>().map(Value::from)
            }
            (Kind::OneOf(messages), Node::Object(fields)) => {
                let mut last = None;
                for (name, value) in fields.iter().filter(|(_, value)| !matches!(value, Node::Null)) {
                    if let Some((name, kind)) = messages.iter().find(|(known, _)| known == name) {
                        last = Some(json!({ *name: value.read_as(kind)? }));
                    }
                }
                last.ok_or(Refused::Mismatch)
            }
            _ => Err(Refused::Mismatch),
        }
    }

    fn integer(&self) -> Result<i128, Refused> {
        match self {
            Node::Integer(number) => Ok(*number),
            Node::Fraction(zero) if *zero == 0.0 && zero.is_sign_negative() => Err(Refused::Unknown),
            // Digits with or without a sign before them, which isn't a plus.
            Node::Text(text) if !text.starts_with('+') => match text.parse() {
                Ok(number) => Ok(number),
                Err(_) => Err(Refused::Mismatch),
            },
            _ => Err(Refused::Mismatch),
        }
    }
}

fn default_of(message: &Message) -> Map<String, Value> {
    let of_kind = |kind: &Kind| match kind {
        Kind::Int64 | Kind::Uint64 | Kind::Uint32 => json!(0),
        Kind::Bool => json!(false),
        Kind::Text | Kind::Bytes => json!(""),
        Kind::Name(names, _) => json!(names.first()),
        Kind::Message(message) => Value::Object(default_of(message)),
        Kind::Nested(message) => Value::Object(default_of(message())),
        Kind::Optional(_) | Kind::Required(_) | Kind::OneOf(_) => Value::Null,
        Kind::List(_) => json!([]),
    };
    message.iter().map(|(name, kind)| ((*name).to_owned(), of_kind(kind))).collect()
}

/// Bytes as a text with a character for each.
pub(super) fn show_bytes(bytes: &[u8]) -> Value {
    Value::String(bytes.iter().map(|byte| char::from(*byte)).collect())
}

/// What padded base64 stands for, written for its plainness.
fn base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let padding = text.len() - text.trim_end_matches('=').len();
    if text.len() % 4 != 0 || padding > 2 {
        return None;
    }
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for character in text[..text.len() - padding].bytes() {
        let digit = ALPHABET.iter().position(|known| *known == character)?;
        bits = bits << 6 | u32::try_from(digit).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    (bits == 0).then_some(bytes)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Fraction(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = entries.next_entry()? {
            fields.push(field);
        }
        Ok(Node::Object(fields))
    }
}
