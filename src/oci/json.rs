//! Members of JSON objects, each of the type that it must have. What is absent and what is null are
//! the same, as they are to the writers of images.

use super::{MAX_JSON, malformed};
use crate::error::{Code, Errno, Error, Result};
use serde_json::{Map, Value};

/// A JSON object; its nesting is bounded by the parser.
pub fn object(data: &[u8]) -> Result<Map<String, Value>> {
    match parse(data)? {
        Value::Object(object) => Ok(object),
        _ => Err(malformed("it is no JSON object")),
    }
}

/// A JSON array.
pub fn list(data: &[u8]) -> Result<Vec<Value>> {
    match parse(data)? {
        Value::Array(list) => Ok(list),
        _ => Err(malformed("it is no JSON array")),
    }
}

fn parse(data: &[u8]) -> Result<Value> {
    check_size(data.len() as u64)?;
    serde_json::from_slice(data).map_err(|error| malformed(format!("not JSON: {error}")))
}

/// EFBIG for more than any manifest, index or config may have.
pub fn check_size(size: u64) -> Result<()> {
    if size > MAX_JSON {
        let message = format!("{size} bytes of JSON; {MAX_JSON} are allowed");
        return Err(Error::new(Code::Limit, Errno::FBIG, message));
    }
    Ok(())
}

/// The object itself, where a value must be one.
pub fn as_object(value: &Value) -> Result<&Map<String, Value>> {
    value
        .as_object()
        .ok_or_else(|| malformed("a JSON object is missing where one must be"))
}

fn wrong(key: &str, what: &str) -> Error {
    malformed(format!("its member \"{key}\" is no {what}"))
}

/// A string; none where it is absent.
pub fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Result<Option<&'a str>> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong(key, "string")),
    }
}

/// A string that must be there.
pub fn need_text<'a>(object: &'a Map<String, Value>, key: &str) -> Result<&'a str> {
    text(object, key)?.ok_or_else(|| malformed(format!("it has no \"{key}\"")))
}

/// An array; empty where it is absent.
pub fn array<'a>(object: &'a Map<String, Value>, key: &str) -> Result<&'a [Value]> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(wrong(key, "array")),
    }
}

/// An array of strings; none where it is absent.
pub fn texts(object: &Map<String, Value>, key: &str) -> Result<Option<Vec<String>>> {
    if matches!(object.get(key), None | Some(Value::Null)) {
        return Ok(None);
    }
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        _ => Err(wrong(key, "array of strings")),
    };
    array(object, key)?
        .iter()
        .map(one)
        .collect::<Result<_>>()
        .map(Some)
}

/// An object; none where it is absent.
pub fn member<'a>(
    object: &'a Map<String, Value>,
    key: &str,
) -> Result<Option<&'a Map<String, Value>>> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(member)) => Ok(Some(member)),
        Some(_) => Err(wrong(key, "object")),
    }
}

/// A whole number of 0 or more that must be there.
pub fn need_number(object: &Map<String, Value>, key: &str) -> Result<u64> {
    match object.get(key) {
        None | Some(Value::Null) => Err(malformed(format!("it has no \"{key}\""))),
        Some(value) => value.as_u64().ok_or_else(|| wrong(key, "size")),
    }
}
