package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// grouped is how many images share their second layer; all share their first.
const grouped = 10

func imageName(i int) string { return fmt.Sprintf("localhost/scale:%d", i) }

// says is what a container on image i prints when it has that image's files, and can keep what it writes.
func says(token string, i int, id string) string {
	return fmt.Sprintf("base %s\ngroup %d %s\nimage %d %s\n%s\n", token, i/grouped, token, i, token, id)
}

// command prints that. /gone is of the first layer, and the image's own removes it.
const command = `set -e; cat /base /group /image; [ ! -e /gone ]; echo "$0" >/written; cat /written`

// file is an entry of a layer: with a text, with a link, or a directory.
type file struct{ name, text, link string }

func layerTar(files []file) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, one := range files {
		header := &tar.Header{Name: one.name, Mode: 0o755, Typeflag: tar.TypeDir}
		switch {
		case one.link != "":
			header.Typeflag, header.Linkname = tar.TypeSymlink, one.link
		case !strings.HasSuffix(one.name, "/"):
			header.Typeflag, header.Size = tar.TypeReg, int64(len(one.text))
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(w, one.text); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func base(busybox, token string) ([]file, error) {
	program, err := os.ReadFile(busybox)
	if err != nil {
		return nil, err
	}
	files := []file{{name: "bin/"}, {name: "bin/busybox", text: string(program)}}
	for _, name := range []string{"sh", "cat", "echo", "sleep"} {
		files = append(files, file{name: "bin/" + name, link: "busybox"})
	}
	for _, name := range []string{"dev/", "etc/", "proc/", "sys/", "tmp/", "usr/"} {
		files = append(files, file{name: name})
	}
	files = append(files, file{name: "etc/group", text: "root:x:0:\n"}, file{name: "base", text: "base " + token + "\n"},
		file{name: "gone", text: "of the base\n"})
	return append(files, some("usr/base", 200)...), nil
}

// some is a number of small files.
func some(dir string, n int) []file {
	files := []file{{name: dir + "/"}}
	for i := range n {
		files = append(files, file{name: fmt.Sprintf("%s/%d", dir, i), text: strings.Repeat(fmt.Sprintln(dir, i), 50)})
	}
	return files
}

// archive is an OCI archive that is being written.
type archive struct {
	w       *tar.Writer
	written map[digest.Digest]bool
}

func (a *archive) file(name string, text []byte) error {
	if err := a.w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(text))}); err != nil {
		return err
	}
	_, err := a.w.Write(text)
	return err
}

func (a *archive) blob(mediaType string, text []byte) (ocispec.Descriptor, error) {
	one := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(text), Size: int64(len(text))}
	if a.written[one.Digest] {
		return one, nil
	}
	a.written[one.Digest] = true
	return one, a.file(path.Join("blobs", one.Digest.Algorithm().String(), one.Digest.Encoded()), text)
}

func (a *archive) json(mediaType string, value any) (ocispec.Descriptor, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return a.blob(mediaType, text)
}

// layer is a compressed one, and its diff ID.
func (a *archive) layer(files []file) (ocispec.Descriptor, digest.Digest, error) {
	plain, err := layerTar(files)
	if err != nil {
		return ocispec.Descriptor{}, "", err
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(plain); err != nil {
		return ocispec.Descriptor{}, "", err
	}
	if err := w.Close(); err != nil {
		return ocispec.Descriptor{}, "", err
	}
	one, err := a.blob(ocispec.MediaTypeImageLayerGzip, packed.Bytes())
	return one, digest.FromBytes(plain), err
}

// writeImages makes an archive of n images: a base for all, a layer for each ten, and one of its own for
// each. The token is in the files that the containers print.
func writeImages(name string, n int, busybox, token string) error {
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	defer out.Close()
	a := &archive{w: tar.NewWriter(out), written: map[digest.Digest]bool{}}
	first, err := base(busybox, token)
	if err != nil {
		return err
	}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for i := range n {
		group := append(some("usr/group", 20), file{name: "group", text: fmt.Sprintf("group %d %s\n", i/grouped, token)})
		own := append(some("usr/image", 20), file{name: "image", text: fmt.Sprintf("image %d %s\n", i, token)}, file{name: ".wh.gone"})
		manifest := ocispec.Manifest{Versioned: index.Versioned, MediaType: ocispec.MediaTypeImageManifest}
		config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}}
		config.RootFS.Type = "layers"
		config.Config.Env = []string{"PATH=/bin"}
		for _, files := range [][]file{first, group, own} {
			blob, diffID, err := a.layer(files)
			if err != nil {
				return err
			}
			manifest.Layers = append(manifest.Layers, blob)
			config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diffID)
		}
		if manifest.Config, err = a.json(ocispec.MediaTypeImageConfig, config); err != nil {
			return err
		}
		target, err := a.json(ocispec.MediaTypeImageManifest, manifest)
		if err != nil {
			return err
		}
		target.Annotations = map[string]string{"io.containerd.image.name": imageName(i)}
		index.Manifests = append(index.Manifests, target)
	}
	text, err := json.Marshal(index)
	if err != nil {
		return err
	}
	if err := a.file(ocispec.ImageIndexFile, text); err != nil {
		return err
	}
	if err := a.file(ocispec.ImageLayoutFile, []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return err
	}
	if err := a.w.Close(); err != nil {
		return err
	}
	return out.Close()
}
