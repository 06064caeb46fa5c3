//! docker save's `manifest.json`.

use super::choose::{Wanted, join, named};
use super::{json, malformed, manifest};
use crate::error::{Error, Result};

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

/// Reads `manifest.json`.
pub fn parse_saved(data: &[u8]) -> Result<Vec<Saved>> {
    json::list(data)?
        .iter()
        .map(|one| {
            let one = json::as_object(one)?;
            let layers = json::texts(one, "Layers")?.unwrap_or_default();
            manifest::check_count(layers.len())?;
            Ok(Saved {
                config: json::need_text(one, "Config")?.to_string(),
                tags: json::texts(one, "RepoTags")?.unwrap_or_default(),
                layers,
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
