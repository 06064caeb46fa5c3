//! Seeds of `image`: what each byte and each part means stands in `src/store/fuzzing/image.rs`.

use super::seeds::Seeds;
use crate::archive::tests::build::{Raw, file, tar};
use crate::archive::tests::codecs::gzip;

const CONFIG: &str = r#"{"os":"linux","config":{"Env":["A=b"],"Cmd":["x"],"Labels":{"k":"v"},"User":"1:2","WorkingDir":"/"},"rootfs":{"type":"layers","diff_ids":["%0","%1"]}}"#;

fn manifest(of: &str, config: &str, layer: &str) -> String {
    let blob = |kind: &str, digest: char, size: char| {
        format!(r#"{{"mediaType":"{kind}","digest":"%{digest}","size":%{size}}}"#)
    };
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{of}","config":{},"layers":[{},{}]}}"#,
        blob(config, 'c', 'C'),
        blob(layer, '0', '4'),
        blob(layer, '1', '5')
    )
}

fn index(of: &str, letters: &str, more: &str) -> String {
    let [digest, size] = [0, 1].map(|at| &letters[at..=at]);
    format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{of}","digest":"%{digest}","size":%{size}{more}}}]}}"#
    )
}

fn parts(how: u8, documents: [&str; 4], links: &[u8], layers: &[Vec<u8>]) -> Vec<u8> {
    let documents = documents.iter().map(|text| text.as_bytes());
    let all = documents
        .chain([links])
        .chain(layers.iter().map(Vec::as_slice));
    let all: Vec<&[u8]> = all.collect();
    [&[how][..], &all.join(&0x1e)].concat()
}

/// Images of every sort.
pub fn images() -> Seeds {
    const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
    const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    let oci = manifest(
        OCI,
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.oci.image.layer.v1.tar",
    );
    let docker = manifest(
        DOCKER,
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    );
    let alone = index(OCI, "mM", "");
    let named = r#","annotations":{"org.opencontainers.image.ref.name":"1"}"#;
    let arm = r#","platform":{"os":"linux","architecture":"arm","variant":"v7"}"#;
    let saved = r#"[{"Config":"c.json","RepoTags":["a:1"],"Layers":["0","1"]}]"#;
    let layers = || {
        vec![
            tar(&[file(b"a", b"a"), file(b"d/b", b"b")]),
            tar(&[
                file(b"d/.wh.b", b""),
                Raw::new(b"l", b'2').link(b"a").bytes(),
            ]),
        ]
    };
    let layout = |how: u8, manifest: &str, links: &[u8]| {
        parts(1 | how, [CONFIG, manifest, "", &alone], links, &layers())
    };
    let list: Vec<(&str, Vec<u8>)> = vec![
        ("layout", layout(0, &oci, b"")),
        ("layout-kept", layout(4, &oci, b"")),
        (
            "docker-kept",
            parts(
                5,
                [CONFIG, &docker, "", &index(DOCKER, "mM", named)],
                b"",
                &layers(),
            ),
        ),
        (
            "nested",
            parts(
                1 | 32 | 64,
                [
                    &CONFIG.replace(r#""os""#, r#""architecture":"arm","variant":"v7","os""#),
                    &oci,
                    &index(OCI, "mM", arm),
                    &index(INDEX, "iI", named),
                ],
                b"",
                &layers(),
            ),
        ),
        // blobs/sha256 -> ../real
        ("behind-a-link", layout(16, &oci, &[1, 0, 2])),
        // A directory x, then x/y -> ../real and blobs -> x/y, hard links, a fifo.
        (
            "links",
            layout(0, &oci, &[4, 3, 5, 0, 2, 6, 0, 5, 9, 1, 14, 5, 5, 8, 1, 7]),
        ),
        ("saved", parts(3, [CONFIG, saved, "", ""], b"", &layers())),
        (
            "saved-kept-linked",
            parts(7, [CONFIG, saved, "", ""], &[9, 0, 14], &layers()),
        ),
        (
            "other-system",
            parts(
                1,
                [&CONFIG.replace("linux", "windows"), &oci, "", &alone],
                b"",
                &layers(),
            ),
        ),
        (
            "duplicate-members",
            parts(
                1,
                [
                    &CONFIG.replace(r#""os""#, r#""os":"linux","os""#),
                    &oci,
                    "",
                    &alone,
                ],
                b"",
                &layers(),
            ),
        ),
        (
            "archive",
            [
                &[0][..],
                &tar(&[
                    file(b"oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
                    file(b"index.json", br#"{"schemaVersion":2,"manifests":[]}"#),
                ]),
            ]
            .concat(),
        ),
        (
            "archive-gzip",
            [&[0][..], &gzip(&tar(&[file(b"manifest.json", b"[]")]))].concat(),
        ),
        (
            "archive-old",
            [&[8][..], &tar(&[file(b"repositories", b"{}")])].concat(),
        ),
    ];
    list.into_iter()
        .map(|(name, seed)| (name.to_string(), seed))
        .collect()
}
