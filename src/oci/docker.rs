//! docker save's `manifest.json`.

use super::choose::{Wanted, join, named};
use super::json::{self, List, Object, need};
use super::{MAX_DESCRIPTORS, MAX_LAYERS, malformed, manifest};
use crate::error::{Error, Result};
use serde::Deserialize;

/// One image of a docker save archive.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Where its config is in the archive.
    pub config: String,
    /// Its names, as in `app:1`.
    pub tags: Vec<String>,
    /// Where its layers are, the lowest first.
    pub layers: Vec<String>,
}

/// An image as it is written. Of its names and layers more than these is an error.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Written {
    config: Option<String>,
    repo_tags: Option<List<String, MAX_DESCRIPTORS>>,
    layers: Option<List<String, MAX_LAYERS>>,
}

/// Reads `manifest.json`.
pub fn parse_saved(data: &[u8]) -> Result<Vec<Saved>> {
    let list: List<Object<Written>, MAX_DESCRIPTORS> = json::parse(data)?;
    let images = list.all("images")?.into_iter();
    images
        .map(|Object(one)| {
            let layers = one.layers.unwrap_or_default();
            manifest::check_count(layers.count)?;
            Ok(Saved {
                config: need(one.config, "Config")?,
                tags: one.repo_tags.unwrap_or_default().all("names")?,
                layers: layers.items,
            })
        })
        .collect()
}

/// The one that is meant; EINVAL, with all that there are, where that is none or several.
pub fn choose_saved<'a>(among: &'a [Saved], wanted: &Wanted) -> Result<&'a Saved> {
    let list = || {
        join(among.iter().map(|one| match one.tags.is_empty() {
            true => one.config.clone(),
            false => one.tags.join(" = "),
        }))
    };
    let left: Vec<&Saved> = match &wanted.reference {
        Some(reference) => named(among.iter().collect(), reference, |one| &one.tags),
        None => among.iter().collect(),
    };
    match (&left[..], &wanted.reference) {
        ([one], _) => Ok(one),
        ([], Some(reference)) => Err(Error::invalid(format!(
            "no image is called \"{reference}\"; there is: {}",
            list()
        ))),
        ([], None) => Err(malformed("manifest.json names no image")),
        _ => Err(Error::invalid(format!(
            "there are several images, say which: {}",
            list()
        ))),
    }
}
