//! Short ways to write and read bencoded values.

use serde_bencode::value::Value;

pub(crate) fn dict<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Dict(entries.map(|(key, value)| (key.as_bytes().to_vec(), value)).into())
}

pub(crate) fn bytes(value: impl Into<Vec<u8>>) -> Value {
    Value::Bytes(value.into())
}

pub(crate) fn int(value: impl Into<i64>) -> Value {
    Value::Int(value.into())
}

/// A dictionary with one entry more, or another one.
pub(crate) fn with(mut value: Value, key: &str, entry: Value) -> Value {
    let Value::Dict(entries) = &mut value else { panic!("no dictionary: {value:?}") };
    entries.insert(key.as_bytes().to_vec(), entry);
    value
}

pub(crate) fn entry<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    let Value::Dict(entries) = value else { return None };
    entries.get(key.as_bytes())
}

/// The keys of a dictionary, in order.
pub(crate) fn keys(value: &Value) -> Vec<String> {
    let Value::Dict(entries) = value else { return Vec::new() };
    let mut keys = entries.keys().map(|key| String::from_utf8_lossy(key).into_owned());
    let mut keys = keys.by_ref().collect::<Vec<_>>();
    keys.sort();
    keys
}

pub(crate) fn encode(value: &Value) -> Vec<u8> {
    serde_bencode::to_bytes(value).unwrap()
}

pub(crate) fn decode(text: &[u8]) -> Value {
    serde_bencode::from_bytes(text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}
