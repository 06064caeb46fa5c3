//! Which image of several is meant.

use super::descriptor::Descriptor;
use super::platform::Platform;
use super::{malformed, name};
use crate::error::{Error, Result};
use std::collections::HashSet;

/// What the caller asked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// A tag, or a name.
    pub reference: Option<String>,
    /// What it is to run on; [`Platform::host`] otherwise.
    pub platform: Option<Platform>,
}

impl Wanted {
    fn platform(&self) -> Platform {
        self.platform.clone().unwrap_or_else(Platform::host)
    }
}

/// The one that is meant of the descriptors of an index. A name chooses first, then the platform;
/// one that is alone needs no platform, but may not be of another. Attestations are passed over.
/// EINVAL, with all that there are, where that is none or several.
pub fn choose<'a>(among: &'a [Descriptor], wanted: &Wanted) -> Result<&'a Descriptor> {
    let images: Vec<&Descriptor> = among.iter().filter(|one| !one.attestation).collect();
    if images.is_empty() {
        return Err(malformed("the index names no image"));
    }
    let there = || list(images.iter().copied());
    let mut left = images.clone();
    if let Some(reference) = &wanted.reference {
        left = named(left, reference, |one| &one.names);
        if left.is_empty() {
            let message = format!("no image is called \"{reference}\"; there is: {}", there());
            return Err(Error::invalid(message));
        }
    } else if !same_name(&left) {
        let message = format!("there are several images, say which: {}", there());
        return Err(Error::invalid(message));
    }
    let platform = wanted.platform();
    let fits = |one: &&Descriptor| one.platform.as_ref().is_some_and(|is| is.is(&platform));
    left = distinct(left);
    if let [one] = left[..] {
        if one.platform.is_none() || fits(&one) {
            return Ok(one);
        }
    }
    left.retain(fits);
    if left.len() > 1 && platform.variant.is_none() {
        let plain = |one: &Descriptor| one.platform.as_ref().is_some_and(|p| p.variant.is_none());
        if left.iter().any(|one| plain(one)) {
            left.retain(|one| plain(one));
        }
    }
    match left[..] {
        [one] => Ok(one),
        [] => Err(Error::invalid(format!(
            "no image is for {platform}; there is: {}",
            there()
        ))),
        _ => Err(Error::invalid(format!(
            "several images are meant, say which: {}",
            list(left.iter().copied())
        ))),
    }
}

/// Those that bear the name: the very name, else its end after a slash, else its tag.
pub(super) fn named<T: Copy>(
    among: Vec<T>,
    reference: &str,
    names: impl Fn(&T) -> &Vec<String>,
) -> Vec<T> {
    let end = format!("/{reference}");
    let ways: [&dyn Fn(&str) -> bool; 3] = [
        &|name| name == reference,
        &|name| name.ends_with(&end),
        &|name| name::tag(name) == Some(reference),
    ];
    for way in ways {
        let found: Vec<T> = among
            .iter()
            .copied()
            .filter(|one| names(one).iter().any(|name| way(name)))
            .collect();
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

/// Whether all are one image under several names, or several platforms of one name.
fn same_name(images: &[&Descriptor]) -> bool {
    let same = |one: &&Descriptor| one.digest_text() == images[0].digest_text();
    images.iter().all(same) || images.iter().all(|one| one.names == images[0].names)
}

/// Each once: an image of several names stands in an index several times.
fn distinct(images: Vec<&Descriptor>) -> Vec<&Descriptor> {
    let mut seen = HashSet::new();
    let mut left = images;
    left.retain(|one| seen.insert(one.digest_text().to_string()));
    left
}

/// What there is, for a message.
fn list<'a>(images: impl Iterator<Item = &'a Descriptor>) -> String {
    join(images.map(|one| {
        let mut words = one.names.join(" = ");
        if words.is_empty() {
            words = one.digest_text().to_string();
        }
        match &one.platform {
            Some(platform) => format!("{words} ({platform})"),
            None => words,
        }
    }))
}

/// A list that a message can hold.
pub(super) fn join(words: impl Iterator<Item = String>) -> String {
    const MOST: usize = 32;
    let mut words: Vec<String> = words.take(MOST + 1).collect();
    if words.len() > MOST {
        words[MOST] = "and more".into();
    }
    words.join(", ")
}
