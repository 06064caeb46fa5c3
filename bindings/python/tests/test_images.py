"""Images: archives in and out, of every kind of source and target."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import platform
import tarfile
from pathlib import Path
from typing import Any

import pytest

import ovl
from conftest import need, tar

LAYERS = [tar("etc/", ("etc/name", b"below")), tar(("etc/name", b"above"), (".wh.gone", b""))]
CONFIG = {
    "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "amd64"),
    "os": "linux",
    "config": {
        "Env": ["PATH=/bin", "NAME=va=lue"],
        "Entrypoint": ["/bin/run"],
        "Cmd": ["one", "two words"],
        "WorkingDir": "/etc",
        "User": "1000:100",
        "Labels": {"b": "2", "a": "ä"},
    },
    "rootfs": {
        "type": "layers",
        "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in LAYERS],
    },
}


def layout(ref: str = "latest") -> dict[str, bytes]:
    """The files of an OCI layout of two layers, by their names."""
    files: dict[str, bytes] = {}

    def blob(kind: str, data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        files["blobs/sha256/" + digest] = data
        kind = f"application/vnd.oci.image.{kind}"
        return {"mediaType": kind, "digest": "sha256:" + digest, "size": len(data)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("config.v1+json", json.dumps(CONFIG).encode()),
        "layers": [
            blob("layer.v1.tar+gzip", gzip.compress(LAYERS[0], mtime=0)),
            blob("layer.v1.tar", LAYERS[1]),
        ],
    }
    entry = blob("manifest.v1+json", json.dumps(manifest).encode())
    entry["annotations"] = {"org.opencontainers.image.ref.name": ref}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    return files


def archive() -> bytes:
    return tar(*layout().items())


def directory(place: Path) -> Path:
    for name, data in layout().items():
        path = place / "layout" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return place / "layout"


def test_import_from_everything(store: ovl.Store, place: Path) -> None:
    path = place / "image.tar"
    path.write_bytes(archive())
    unpacked = directory(place)
    fd = os.open(unpacked, os.O_RDONLY)
    sources: list[Any] = [
        path,
        os.fsencode(path),
        unpacked,
        str(unpacked),
        fd,
        io.BytesIO(archive()),
        io.BytesIO(gzip.compress(archive())),
        [archive()],
    ]
    for number, source in enumerate(sources):
        info = store.import_image(source, "app")
        assert info.layers == 2
        # The layers are there from the second time on: an image that is replaced shares them.
        assert info.made == (2 if number == 0 else 0)
    os.close(fd)
    assert [image.name for image in store.images()] == ["app"]


def test_what_an_image_tells(store: ovl.Store) -> None:
    need("overlay")
    info = store.import_image([archive()], "example.org/app:1.0")
    image = store.image("example.org/app:1.0")
    assert image.name == "example.org/app:1.0"
    assert image.config == CONFIG
    assert json.loads(image.config_json) == CONFIG
    assert info.config == "sha256:" + hashlib.sha256(image.config_json).hexdigest()
    assert image.env == ("PATH=/bin", "NAME=va=lue")
    assert (image.entrypoint, image.cmd) == (("/bin/run",), ("one", "two words"))
    assert image.command == ("/bin/run", "one", "two words")
    assert (image.working_dir, image.user) == ("/etc", "1000:100")
    assert image.labels == {"a": "ä", "b": "2"}
    assert [layer.diff_id for layer in image.layers] == CONFIG["rootfs"]["diff_ids"]  # type: ignore[index]
    assert image.info.layer == image.layers[-1].id == info.layer
    assert (image.info.layers, image.info.blobs, image.info.made) == (2, False, 0)
    assert image.info.size == len("below") + len("above")
    assert image.info.created.year >= 2024
    assert list(store.images()) == [("example.org/app:1.0", info.layer, 2)]
    assert info.layer is not None
    with store.create("box", info.layer).mount() as path:
        assert (path / "etc" / "name").read_bytes() == b"above"


def test_export_to_everything(store: ovl.Store, place: Path) -> None:
    store.import_image([archive()], "app:1", keep_blobs=True)
    assert store.image("app:1").info.blobs
    empty = place / "empty"
    empty.mkdir()
    info = store.export_image("app:1", empty)
    assert info.blobs
    for name, data in layout().items():
        if name.startswith("blobs/"):
            assert (empty / name).read_bytes() == data, name
    with pytest.raises(OSError) as full:
        store.export_image("app:1", empty)
    assert full.value.errno == errno.ENOTEMPTY
    out = io.BytesIO()
    store.export_image("app:1", out, ref="other")
    path = place / "out.tar"
    store.export_image("app:1", path, ref="other")
    assert path.read_bytes() == out.getvalue()
    with tarfile.open(path) as made:
        index = json.load(made.extractfile("index.json"))  # type: ignore[arg-type]
    assert "other" in json.dumps(index)
    again = store.import_image(path, "again", ref="other")
    assert (again.config, again.made) == (info.config, 0)


def test_anew(store: ovl.Store) -> None:
    store.import_image([archive()], "app")
    out = io.BytesIO()
    written = store.export_image("app", out)
    assert not written.blobs
    again = store.import_image([out.getvalue()], "again")
    assert (again.manifest, again.config) == (written.manifest, written.config)


def test_remove(store: ovl.Store, place: Path) -> None:
    store.import_image([archive()], "one")
    store.import_image([archive()], "two")
    store.remove_image("one")
    assert len(list(store)) == 2
    store.remove_image(b"two")
    assert list(store) == []
    assert list(store.images()) == []
    out = place / "out"
    for call in (store.image, store.remove_image, lambda name: store.export_image(name, out)):
        with pytest.raises(FileNotFoundError) as missing:
            call("one")
        assert missing.value.code is ovl.Code.NO_IMAGE  # type: ignore[attr-defined]
    assert os.listdir(place) == ["store"]


def test_bad_input_leaves_nothing(store: ovl.Store, place: Path) -> None:
    broken = layout()
    name = next(name for name, data in broken.items() if data == LAYERS[1])
    broken[name] = LAYERS[1][:-1] + b"x"
    for source, number in (
        (tar(*broken.items()), errno.EBADMSG),
        (archive()[:3000], errno.EBADMSG),
        (tar(("file", b"x")), errno.EBADMSG),
    ):
        with pytest.raises(OSError) as refused:
            store.import_image([source], "app")
        assert refused.value.errno == number
    with pytest.raises(OSError, match="latest") as other:
        store.import_image([archive()], "app", ref="another")
    assert other.value.errno == errno.EINVAL
    with pytest.raises(OSError):
        store.import_image([archive()], "app", platform="plan9/mips")
    for wrong in ("", "/app", "a//b", "a:b:c", "../a"):
        with pytest.raises(OSError) as invalid:
            store.import_image([archive()], wrong)
        assert invalid.value.errno == errno.EINVAL
    with pytest.raises(FileNotFoundError):
        store.import_image(place / "none", "app")

    def fail(now: object) -> None:
        raise KeyError

    with pytest.raises(ovl.OvlCancelledError):
        store.import_image([archive()], "app", cancel=lambda: True)
    assert list(store) == []
    assert list(store.images()) == []
