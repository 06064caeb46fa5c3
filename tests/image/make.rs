//! Images and archives of them.

use ovl::archive::Digest;
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    File(Vec<u8>),
    Symlink(String),
    Hard(String),
    Dir,
}

/// An archive: paths and what is there, in order.
pub type Files = Vec<(String, What)>;

/// A tar of these; always the same bytes.
pub fn tar(files: &Files) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, what) in files {
        let (kind, link, data): (u8, &str, &[u8]) = match what {
            What::File(data) => (b'0', "", data),
            What::Symlink(target) => (b'2', target, b""),
            What::Hard(target) => (b'1', target, b""),
            What::Dir => (b'5', "", b""),
        };
        let mut block = [0; 512];
        let mut put = |at: usize, text: &str| {
            block[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        assert!(path.len() <= 100 && link.len() <= 100);
        put(0, path);
        put(100, if kind == b'5' { "0000755" } else { "0000644" });
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", data.len()));
        put(136, "14000000000");
        put(148, "        ");
        put(157, link);
        put(257, "ustar");
        put(263, "00");
        block[156] = kind;
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&block);
        out.extend_from_slice(data);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// The same as a directory.
pub fn unpack(files: &Files, dir: &Path) {
    for (path, what) in files {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        match what {
            What::File(data) => std::fs::write(path, data).unwrap(),
            What::Symlink(target) => symlink(target, path).unwrap(),
            What::Hard(target) => std::fs::hard_link(dir.join(target), path).unwrap(),
            What::Dir => std::fs::create_dir_all(path).unwrap(),
        }
    }
}

pub fn file(path: &str, data: impl Into<Vec<u8>>) -> (String, What) {
    (path.to_string(), What::File(data.into()))
}

pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 1).unwrap()
}

/// A layer tar of small files.
pub fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    tar(&files.iter().map(|(path, text)| file(path, *text)).collect())
}

/// A layer as it is shipped.
#[derive(Clone)]
pub struct Blob {
    pub tar: Vec<u8>,
    pub data: Vec<u8>,
    pub media_type: String,
}

impl Blob {
    pub fn plain(tar: Vec<u8>) -> Blob {
        Blob {
            data: tar.clone(),
            media_type: LAYER.into(),
            tar,
        }
    }

    pub fn gzip(tar: Vec<u8>) -> Blob {
        Blob {
            data: gzip(&tar),
            media_type: format!("{LAYER}+gzip"),
            tar,
        }
    }

    pub fn zstd(tar: Vec<u8>) -> Blob {
        Blob {
            data: zstd(&tar),
            media_type: format!("{LAYER}+zstd"),
            tar,
        }
    }
}

/// An image: what its parts say can be changed before it is put into an archive.
#[derive(Clone)]
pub struct Image {
    pub layers: Vec<Blob>,
    pub config: Value,
    pub manifest: Value,
    /// The bytes of both, where they are not to be made of the values.
    pub config_text: Option<Vec<u8>>,
    pub manifest_text: Option<Vec<u8>>,
}

pub fn describe(media_type: &str, data: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(data).to_string(), "size": data.len() })
}

impl Image {
    pub fn new(layers: Vec<Blob>) -> Image {
        let ids: Vec<String> = layers
            .iter()
            .map(|l| Digest::of(&l.tar).to_string())
            .collect();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "config": {
                "Env": ["PATH=/bin", "KEY=a value"],
                "Entrypoint": ["/bin/tool", "-x"],
                "Cmd": ["one"],
                "WorkingDir": "/work",
                "User": "7:8",
                "Labels": { "b": "2", "a": "1" },
            },
            "rootfs": { "type": "layers", "diff_ids": ids },
            "history": [{ "created_by": "tests" }],
        });
        let mut image = Image {
            layers,
            config,
            manifest: Value::Null,
            config_text: None,
            manifest_text: None,
        };
        image.seal();
        image
    }

    /// Makes the manifest anew.
    pub fn seal(&mut self) {
        let layers = self.layers.iter().map(|l| describe(&l.media_type, &l.data));
        self.manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": describe(CONFIG, &self.config_bytes()),
            "layers": layers.collect::<Vec<_>>(),
        });
    }

    pub fn config_bytes(&self) -> Vec<u8> {
        let made = || self.config.to_string().into_bytes();
        self.config_text.clone().unwrap_or_else(made)
    }

    pub fn manifest_bytes(&self) -> Vec<u8> {
        let made = || self.manifest.to_string().into_bytes();
        self.manifest_text.clone().unwrap_or_else(made)
    }

    pub fn config_digest(&self) -> Digest {
        Digest::of(&self.config_bytes())
    }

    pub fn manifest_digest(&self) -> Digest {
        Digest::of(&self.manifest_bytes())
    }

    /// The id of each of its layers.
    pub fn ids(&self) -> Vec<String> {
        let ids: Vec<Digest> = self.layers.iter().map(|l| Digest::of(&l.tar)).collect();
        let chain = ovl::oci::chain_ids(&ids);
        chain
            .iter()
            .map(|id| format!("sha256-{}", id.hex()))
            .collect()
    }

    pub fn top(&self) -> String {
        self.ids().pop().unwrap()
    }

    /// Its descriptor in an index.
    pub fn described(&self, name: Option<&str>) -> Value {
        let mut one = describe(MANIFEST, &self.manifest_bytes());
        if let Some(name) = name {
            one["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        }
        one
    }

    /// Its blobs, at their places.
    pub fn blobs(&self) -> Files {
        let mut files = vec![blob(&self.manifest_bytes()), blob(&self.config_bytes())];
        files.extend(self.layers.iter().map(|layer| blob(&layer.data)));
        files
    }

    /// An OCI layout of it alone.
    pub fn layout(&self) -> Files {
        layout(&[self.described(Some("1.0"))], self.blobs())
    }

    pub fn archive(&self) -> Vec<u8> {
        tar(&self.layout())
    }

    /// docker save as it was before OCI: a directory for each layer, a config named by its digest.
    pub fn saved(&self, tags: &[&str]) -> Files {
        saved(&[(self, tags)])
    }
}

/// A blob at its place.
pub fn blob(data: &[u8]) -> (String, What) {
    file(&format!("blobs/sha256/{}", Digest::of(data).hex()), data)
}

/// A layout whose `index.json` has these descriptors.
pub fn layout(manifests: &[Value], blobs: Files) -> Files {
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let mut files = vec![
        file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
        file("index.json", index.to_string()),
    ];
    files.extend(blobs);
    files
}

/// docker save of several images; a layer that another image has is a symbolic link to it.
pub fn saved(images: &[(&Image, &[&str])]) -> Files {
    let (mut files, mut list, mut seen) =
        (Files::new(), Vec::new(), Vec::<(Digest, String)>::new());
    for (n, (image, tags)) in images.iter().enumerate() {
        let mut layers = Vec::new();
        for (at, layer) in image.layers.iter().enumerate() {
            let dir = format!("{}{}", "0123456789abcdef".repeat(3), n * 100 + at);
            let path = format!("{dir}/layer.tar");
            let digest = Digest::of(&layer.data);
            files.push((dir.clone(), What::Dir));
            files.push(file(&format!("{dir}/VERSION"), "1.0"));
            match seen.iter().find(|(known, _)| *known == digest) {
                Some((_, there)) => {
                    files.push((path.clone(), What::Symlink(format!("../{there}"))));
                }
                None => {
                    files.push(file(&path, layer.data.clone()));
                    seen.push((digest, path.clone()));
                }
            }
            layers.push(path);
        }
        let config = format!("{}.json", image.config_digest().hex());
        files.push(file(&config, image.config_bytes()));
        list.push(json!({ "Config": config, "RepoTags": tags, "Layers": layers }));
    }
    files.push(file("repositories", "{}"));
    files.push(file("manifest.json", Value::from(list).to_string()));
    files
}

/// A small image of three layers, one of each compression; the topmost takes a file away.
pub fn small() -> Image {
    Image::new(vec![
        Blob::plain(layer(&[
            ("etc/name", "base"),
            ("bin/tool", "#!/bin/sh\n"),
            ("gone", "x"),
        ])),
        Blob::gzip(layer(&[("etc/name", "second"), ("opt/a", "a")])),
        Blob::zstd(layer(&[(".wh.gone", ""), ("opt/b", "b")])),
    ])
}
