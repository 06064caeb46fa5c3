//! From an archive to one image of it: manifest, config, and where its layers are.

use super::archive::{Files, Member};
use crate::archive::{Digest, Sha256, Source};
use crate::error::{Code, Errno, Error, Result};
use crate::oci::{
    self, Config, Descriptor, INDEX, LAYOUT, MAX_DESCRIPTORS, Manifest, Wanted, blob_path, choose,
    choose_saved, is_index, parse_index, parse_layout, parse_saved,
};
use crate::watch::Watch;

/// The images of docker save, by its name.
const SAVED: &str = "manifest.json";

/// Indexes that lead to one manifest.
const MAX_DEPTH: usize = 8;

/// The image that is meant.
pub struct Picked {
    /// Its manifest and that one's media type; none of docker save.
    pub manifest: Option<(Vec<u8>, String)>,
    /// Its config, as it came.
    pub config: Vec<u8>,
    /// What that says.
    pub parsed: Config,
    /// Its layers, the lowest first.
    pub layers: Vec<Blob>,
}

/// A layer in the archive.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Where it is.
    pub path: String,
    /// The digest and size that the manifest gives it.
    pub told: Option<(Digest, u64)>,
    /// What its tar must hash to.
    pub diff_id: Digest,
}

/// Finds the image that is meant. All its layers are there, with the sizes that are told.
pub fn resolve(files: &Files, wanted: &Wanted, watch: &mut Watch<'_>) -> Result<Picked> {
    watch.check()?;
    let picked = if let Some(index) = files.read(INDEX)? {
        let Some(layout) = files.read(LAYOUT)? else {
            return Err(lacks(LAYOUT));
        };
        parse_layout(&layout).map_err(|e| e.at(LAYOUT))?;
        layout_image(files, &index, wanted, watch)?
    } else if let Some(saved) = files.read(SAVED)? {
        saved_image(files, &saved, wanted)?
    } else if files.read("repositories")?.is_some() {
        return Err(Error::new(
            Code::Unsupported,
            Errno::OPNOTSUPP,
            "a docker save archive from before docker 1.10 is not supported",
        ));
    } else {
        return Err(Error::new(
            Code::Archive,
            Errno::BADMSG,
            "it is no image archive: neither index.json nor manifest.json is in it",
        ));
    };
    match (&wanted.platform, &picked.parsed.platform) {
        (Some(wanted), Some(is)) if !is.is(wanted) => Err(Error::invalid(format!(
            "the image is for {is}, not for {wanted}"
        ))),
        // An emulator may run what is another processor's, and nothing what is another system's.
        (None, Some(is)) if !matches!(is.os.as_str(), "" | "linux") => Err(Error::invalid(
            format!("the image is for {is}: it is imported where that platform is asked for"),
        )),
        _ => Ok(picked),
    }
}

/// An image of an OCI layout.
fn layout_image(
    files: &Files,
    index: &[u8],
    wanted: &Wanted,
    watch: &mut Watch<'_>,
) -> Result<Picked> {
    let mut among = parse_index(index, MAX_DESCRIPTORS).map_err(|e| e.at(INDEX))?;
    let mut room = MAX_DESCRIPTORS.saturating_sub(among.len());
    let mut wanted = wanted.clone();
    for _ in 0..MAX_DEPTH {
        let descriptor = choose(&among, &wanted)?.clone();
        let path = blob_path(&descriptor.digest()?);
        let data = document(files, &descriptor)?;
        watch.bytes(data.len() as u64)?;
        if is_index(&descriptor.media_type) {
            among = parse_index(&data, room).map_err(|e| e.at(&path))?;
            room = room.saturating_sub(among.len());
            // Names stand in index.json alone.
            wanted.reference = None;
            continue;
        }
        let manifest = Manifest::parse(&data, &descriptor.media_type).map_err(|e| e.at(&path))?;
        return manifest_image(files, data, &manifest);
    }
    Err(Error::new(
        Code::Archive,
        Errno::BADMSG,
        "indexes lead to indexes without an end",
    )
    .at(INDEX))
}

fn manifest_image(files: &Files, data: Vec<u8>, manifest: &Manifest) -> Result<Picked> {
    let config = document(files, &manifest.config)?;
    let place = blob_path(&manifest.config.digest()?);
    let parsed = Config::parse(&config).map_err(|e| e.at(place))?;
    need_count(manifest.layers.len(), &parsed)?;
    let mut layers = Vec::with_capacity(manifest.layers.len());
    for (layer, diff_id) in manifest.layers.iter().zip(&parsed.diff_ids) {
        let digest = layer.descriptor.digest()?;
        let path = blob_path(&digest);
        let Some(member) = files.get(&path)? else {
            if layer.foreign {
                let message = format!(
                    "the layer is not in the archive, as its owner alone may distribute it ({})",
                    layer.descriptor.media_type
                );
                return Err(Error::new(Code::Unsupported, Errno::OPNOTSUPP, message).at(path));
            }
            return Err(lacks(&path));
        };
        need_size(&member, &layer.descriptor, &path)?;
        layers.push(Blob {
            path,
            told: Some((digest, layer.descriptor.size)),
            diff_id: *diff_id,
        });
    }
    Ok(Picked {
        manifest: Some((data, manifest.media_type.clone())),
        config,
        parsed,
        layers,
    })
}

/// An image of a docker save archive.
fn saved_image(files: &Files, data: &[u8], wanted: &Wanted) -> Result<Picked> {
    let all = parse_saved(data).map_err(|e| e.at(SAVED))?;
    let saved = choose_saved(&all, wanted)?;
    let Some(config) = files.read(&saved.config)? else {
        return Err(lacks(&saved.config));
    };
    // Its name is its digest, as far as docker and podman write it.
    let stem = saved.config.rsplit('/').next().unwrap_or_default();
    let stem = stem.strip_suffix(".json").unwrap_or(stem);
    if let Ok(named) = Digest::parse(&format!("sha256:{stem}")) {
        need_digest(&Digest::of(&config), &named).map_err(|e| e.at(&saved.config))?;
    }
    let parsed = Config::parse(&config).map_err(|e| e.at(&saved.config))?;
    need_count(saved.layers.len(), &parsed)?;
    let mut layers = Vec::with_capacity(saved.layers.len());
    for (path, diff_id) in saved.layers.iter().zip(&parsed.diff_ids) {
        if files.get(path)?.is_none() {
            return Err(lacks(path));
        }
        layers.push(Blob {
            path: path.clone(),
            told: None,
            diff_id: *diff_id,
        });
    }
    Ok(Picked {
        manifest: None,
        config,
        parsed,
        layers,
    })
}

/// A blob of JSON, checked against its descriptor.
fn document(files: &Files, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let digest = descriptor.digest()?;
    let path = blob_path(&digest);
    oci::check_size(descriptor.size).map_err(|e| e.at(&path))?;
    let Some(mut member) = files.get(&path)? else {
        return Err(lacks(&path));
    };
    need_size(&member, descriptor, &path)?;
    let data = member.whole(&path)?;
    need_digest(&Digest::of(&data), &digest).map_err(|e| e.at(&path))?;
    Ok(data)
}

/// Reads a blob to its end and gives its digest.
pub fn hash(source: &mut dyn Source, watch: &mut Watch<'_>) -> Result<Digest> {
    let mut piece = vec![0; 256 << 10];
    let mut hasher = Sha256::new();
    loop {
        match source.read(&mut piece)? {
            0 => return Ok(hasher.digest()),
            n => {
                hasher.update(piece.get(..n).unwrap_or_default());
                watch.bytes(n as u64)?;
            }
        }
    }
}

/// EBADMSG where a digest is another than was told.
pub fn need_digest(is: &Digest, told: &Digest) -> Result<()> {
    if is == told {
        return Ok(());
    }
    let message = format!("its digest is {is}, not {told}");
    Err(Error::new(Code::Digest, Errno::BADMSG, message))
}

fn need_size(member: &Member, descriptor: &Descriptor, path: &str) -> Result<()> {
    if member.size() == descriptor.size {
        return Ok(());
    }
    let message = format!(
        "it has {} bytes, and its descriptor says {}",
        member.size(),
        descriptor.size
    );
    Err(Error::new(Code::Digest, Errno::BADMSG, message).at(path))
}

fn need_count(layers: usize, config: &Config) -> Result<()> {
    let ids = config.diff_ids.len();
    if layers == ids {
        return Ok(());
    }
    let message = format!("the image has {layers} layers, and its config names {ids}");
    Err(Error::new(Code::Archive, Errno::BADMSG, message))
}

fn lacks(path: &str) -> Error {
    Error::new(Code::Archive, Errno::BADMSG, "the archive lacks it").at(path)
}
