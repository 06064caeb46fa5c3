package ovl_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	ovl "github.com/libovl/libovl/bindings/go"
)

// layout is an OCI layout of an image with these layers: path and content of each file, sorted.
func layout(t testing.TB, layers ...[]byte) map[string][]byte {
	t.Helper()
	all := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	type descriptor struct {
		MediaType   string            `json:"mediaType"`
		Digest      string            `json:"digest"`
		Size        int               `json:"size"`
		Annotations map[string]string `json:"annotations,omitempty"`
	}
	blob := func(kind string, data []byte) descriptor {
		sum := sha256.Sum256(data)
		all["blobs/sha256/"+hex.EncodeToString(sum[:])] = data
		return descriptor{MediaType: "application/vnd.oci.image." + kind, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: len(data)}
	}
	encode := func(value any) []byte { return must(json.Marshal(value)) }
	var ids []string
	var parts []descriptor
	for _, layer := range layers {
		parts = append(parts, blob("layer.v1.tar", layer))
		ids = append(ids, parts[len(parts)-1].Digest)
	}
	config := blob("config.v1+json", encode(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{
			"Env": []string{"A=1", "B="}, "Entrypoint": []string{"/bin/app"}, "Cmd": []string{"-v", "x y"},
			"WorkingDir": "/srv", "User": "7:8", "Labels": map[string]string{"k": "v"},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": ids},
	}))
	manifest := blob("manifest.v1+json", encode(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": parts,
	}))
	manifest.Annotations = map[string]string{"org.opencontainers.image.ref.name": "v1"}
	all["index.json"] = encode(map[string]any{"schemaVersion": 2, "manifests": []descriptor{manifest}})
	return all
}

func archive(t testing.TB, all map[string][]byte) []byte {
	t.Helper()
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		pairs = append(pairs, name, string(all[name]))
	}
	return files(t, pairs...)
}

func TestImages(t *testing.T) {
	store := openStore(t, nil)
	one, two := files(t, "a", "one", "b", "two"), files(t, ".wh.a", "", "c", "three")
	image := layout(t, one, two)
	before := time.Now()
	info, err := store.ImportImage(background, "app:v1", bytes.NewReader(archive(t, image)), &ovl.ImportOptions{KeepBlobs: true})
	ok(t, err)
	if info.Name != "app:v1" || info.Layers != 2 || info.Made != 2 || !info.Blobs || info.Size != 11 ||
		info.Created.Before(before) || info.Created.After(time.Now()) || !strings.HasPrefix(info.Manifest, "sha256:") {
		t.Fatalf("%+v", info)
	}
	stat, err := store.Image("app:v1")
	if ok(t, err); stat.Layer != info.Layer || stat.Config != info.Config || !stat.Created.Equal(info.Created) {
		t.Fatalf("%+v", stat)
	}
	top, err := store.Layer(info.Layer).Stat()
	if ok(t, err); top.State != ovl.StateCommitted {
		t.Fatalf("%+v", top)
	}
	config, err := store.ImageConfig("app:v1")
	ok(t, err)
	if !slices.Equal(config.Env, []string{"A=1", "B="}) || !slices.Equal(config.Entrypoint, []string{"/bin/app"}) ||
		!slices.Equal(config.Cmd, []string{"-v", "x y"}) || config.WorkingDir != "/srv" || config.User != "7:8" ||
		!maps.Equal(config.Labels, map[string]string{"k": "v"}) || len(config.Layers) != 2 ||
		config.Layers[1] != (ovl.ImageLayer{ID: info.Layer, DiffID: top.DiffID}) ||
		!bytes.Equal(config.JSON, image["blobs/sha256/"+strings.TrimPrefix(info.Config, "sha256:")]) {
		t.Fatalf("%+v", config)
	}

	// Out as a directory and as a stream, byte for byte; in again from both, with no layer made.
	dir := t.TempDir()
	into, err := os.Open(dir)
	ok(t, err)
	defer into.Close()
	_, err = store.ExportImage(background, "app:v1", into, nil)
	ok(t, err)
	for name, want := range image {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || strings.HasPrefix(name, "blobs/") && !bytes.Equal(got, want) {
			t.Error(name, err)
		}
	}
	_, err = store.ExportImage(background, "app:v1", into, nil)
	is(t, err, ovl.ErrNotEmpty)
	again, err := store.ImportImage(background, "from/dir", into, nil)
	if ok(t, err); again.Made != 0 || again.Layer != info.Layer || again.Blobs {
		t.Fatalf("%+v", again)
	}
	var out bytes.Buffer
	written, err := store.ExportImage(background, "app:v1", &out, &ovl.ExportOptions{Ref: "other"})
	if ok(t, err); written.Manifest != info.Manifest || !written.Blobs {
		t.Fatalf("%+v", written)
	}
	names := map[string]bool{}
	for r := tar.NewReader(bytes.NewReader(out.Bytes())); ; {
		header, err := r.Next()
		if err == io.EOF {
			break
		}
		ok(t, err)
		names[strings.TrimPrefix(header.Name, "./")] = true
	}
	for name := range image {
		if !names[name] {
			t.Error(name, "is not in the archive")
		}
	}
	_, err = store.ImportImage(background, "stream", &out, &ovl.ImportOptions{Ref: "other"})
	ok(t, err)

	var listed []string
	for entry, err := range store.Images() {
		if ok(t, err); entry.Layer != info.Layer || entry.Layers != 2 {
			t.Errorf("%+v", entry)
		}
		listed = append(listed, entry.Name)
	}
	if !slices.Equal(listed, []string{"app:v1", "from/dir", "stream"}) {
		t.Fatal(listed)
	}
	for _, name := range listed {
		ok(t, store.RemoveImage(background, name, nil))
	}
	gone(t, store.Layer(info.Layer))
}

func TestImageErrors(t *testing.T) {
	store := openStore(t, nil)
	image := layout(t, files(t, "a", "one"))
	good := archive(t, image)
	_, err := store.Image("none")
	if e := is(t, err, fs.ErrNotExist, ovl.ErrNoImage); e.Op != "image" || e.Path != "none" {
		t.Fatalf("%#v", e)
	}
	_, err = store.ImageConfig("none")
	is(t, err, ovl.ErrNoImage)
	_, err = store.ExportImage(background, "none", io.Discard, nil)
	is(t, err, ovl.ErrNoImage)
	is(t, store.RemoveImage(background, "none", nil), ovl.ErrNoImage)
	for _, name := range []string{"", "a/../b", "a:b:c", "/a", "a\x00b"} {
		_, err = store.ImportImage(background, name, bytes.NewReader(good), nil)
		is(t, err, syscall.EINVAL)
	}
	_, err = store.ImportImage(background, "app", nil, nil)
	is(t, err, syscall.EINVAL)
	_, err = store.ImportImage(background, "app", bytes.NewReader(good), &ovl.ImportOptions{Ref: "v2"})
	if e := is(t, err, syscall.EINVAL); !strings.Contains(e.Message, "v1") {
		t.Fatal(e)
	}
	_, err = store.ImportImage(background, "app", strings.NewReader("no archive"), nil)
	is(t, err, syscall.EBADMSG)
	_, err = store.ImportImage(background, "app", io.MultiReader(bytes.NewReader(good[:1000]), iotest.ErrReader(errOwn)), nil)
	is(t, err, errOwn, ovl.ErrCallback)
	for name, data := range image {
		if strings.HasPrefix(name, "blobs/") {
			data[0] ^= 1
		}
	}
	_, err = store.ImportImage(background, "app", bytes.NewReader(archive(t, image)), nil)
	is(t, err, syscall.EBADMSG, ovl.ErrDigest)
	_, err = store.ImportImage(background, "app", bytes.NewReader(good), nil)
	ok(t, err)
	_, err = store.ExportImage(background, "app", writer(func([]byte) (int, error) { return 0, errOwn }), nil)
	is(t, err, errOwn, ovl.ErrCallback)
	ctx, cancel := context.WithCancel(background)
	cancel()
	_, err = store.ImportImage(ctx, "app", bytes.NewReader(good), nil)
	is(t, err, context.Canceled)
	_, err = store.ExportImage(ctx, "app", io.Discard, nil)
	is(t, err, context.Canceled)
	if err := store.RemoveImage(ctx, "app", nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	stops(t, func(ctx context.Context) error {
		_, err := store.ImportImage(ctx, "endless", newEndless(t, 32<<30), nil)
		return err
	})
}
