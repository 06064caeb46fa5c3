//! JSON of somebody else's, read into what is asked of it and no more: what nobody looks at is passed
//! over, and takes no memory. What is absent and what is null are the same, as they are to the
//! writers of images. A member that is asked for and stands there twice is an error.

use super::{MAX_JSON, MAX_WORDS, malformed};
use crate::error::{self, Code, Errno, Error};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// Reads a document; its nesting is bounded by the parser.
pub fn parse<'a, T: Deserialize<'a>>(data: &'a [u8]) -> error::Result<T> {
    check_size(data.len() as u64)?;
    serde_json::from_slice(data).map_err(|error| match error.is_data() {
        true => malformed(error.to_string()),
        false => malformed(format!("not JSON: {error}")),
    })
}

/// Reads a document that is an object.
pub fn object<'a, T: Deserialize<'a>>(data: &'a [u8]) -> error::Result<T> {
    parse(data).map(|Object(inside)| inside)
}

/// EFBIG for more than any manifest, index or config may have.
pub fn check_size(size: u64) -> error::Result<()> {
    if size > MAX_JSON {
        let message = format!("{size} bytes of JSON; {MAX_JSON} are allowed");
        return Err(too_much(message));
    }
    Ok(())
}

/// EFBIG.
pub fn too_much(message: String) -> Error {
    Error::new(Code::Limit, Errno::FBIG, message)
}

/// A member that must be there.
pub fn need<T>(member: Option<T>, key: &str) -> error::Result<T> {
    member.ok_or_else(|| malformed(format!("it has no \"{key}\"")))
}

/// An object, where a derived struct would take an array too.
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Map<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Map(PhantomData)).map(Object)
    }
}

/// The beginning of an array, and how many there are in all.
pub struct List<T, const MOST: usize> {
    pub items: Vec<T>,
    pub count: usize,
}

impl<T, const MOST: usize> Default for List<T, MOST> {
    fn default() -> Self {
        List {
            items: Vec::new(),
            count: 0,
        }
    }
}

impl<T, const MOST: usize> List<T, MOST> {
    /// The items; EFBIG where there are more.
    pub fn all(self, what: &str) -> error::Result<Vec<T>> {
        if self.count > MOST {
            let message = format!("{} {what}; {MOST} are the most", self.count);
            return Err(too_much(message));
        }
        Ok(self.items)
    }
}

struct Array<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Array<T, MOST> {
    type Value = List<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = List::default();
        while list.items.len() < MOST {
            match seq.next_element()? {
                Some(item) => list.items.push(item),
                None => break,
            }
        }
        list.count = list.items.len();
        while seq.next_element::<IgnoredAny>()?.is_some() {
            list.count += 1;
        }
        Ok(list)
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for List<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Array(PhantomData))
    }
}

/// The words of a command. Old writers put a single one without its array.
#[derive(Default)]
pub struct Words(pub List<String, MAX_WORDS>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("words")
            }

            fn visit_str<E>(self, word: &str) -> Result<Words, E> {
                Ok(Words(List {
                    items: vec![word.to_string()],
                    count: 1,
                }))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Words, A::Error> {
                Array(PhantomData).visit_seq(seq).map(Words)
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

/// Keys and texts, sorted; as a [`List`].
#[derive(Default)]
pub struct Texts {
    pub pairs: BTreeMap<String, Option<String>>,
    pub too_many: bool,
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
                let mut texts = Texts::default();
                while texts.pairs.len() <= MAX_WORDS {
                    match map.next_entry()? {
                        Some((key, text)) => drop(texts.pairs.insert(key, text)),
                        None => return Ok(texts),
                    }
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                texts.too_many = true;
                Ok(texts)
            }
        }
        deserializer.deserialize_map(Map)
    }
}
