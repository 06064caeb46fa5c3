package differ_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/libovl/libovl/bindings/go/containerd/differ"
)

var when = time.Unix(1700000000, 123456789)

// layerTar makes a tar of headers; those of regular files have their names as content.
func layerTar(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range headers {
		h.ModTime, h.Format = when, tar.FormatPAX
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if h.Typeflag == tar.TypeReg && !strings.Contains(h.Name, ".wh.") {
			h.Size = int64(len(h.Name))
		}
		ok(t, w.WriteHeader(&h))
		if h.Size > 0 {
			_, err := io.WriteString(w, h.Name)
			ok(t, err)
		}
	}
	ok(t, w.Close())
	return buf.Bytes()
}

func base(t testing.TB) []byte {
	return layerTar(t,
		tar.Header{Typeflag: tar.TypeDir, Name: "dir/", Mode: 0o755},
		tar.Header{Typeflag: tar.TypeReg, Name: "dir/gone"},
		tar.Header{Typeflag: tar.TypeDir, Name: "opaque/", Mode: 0o755},
		tar.Header{Typeflag: tar.TypeReg, Name: "opaque/hidden"},
		tar.Header{Typeflag: tar.TypeReg, Name: "stays"},
	)
}

func change(t testing.TB) []byte {
	return layerTar(t,
		tar.Header{Typeflag: tar.TypeReg, Name: "dir/.wh.gone"},
		tar.Header{Typeflag: tar.TypeDir, Name: "opaque/", Mode: 0o755},
		tar.Header{Typeflag: tar.TypeReg, Name: "opaque/.wh..wh..opq"},
		tar.Header{Typeflag: tar.TypeReg, Name: "opaque/new", Mode: 0o4755, Uid: 12, Gid: 34,
			PAXRecords: map[string]string{"SCHILY.xattr.user.colour": "blue"}},
		tar.Header{Typeflag: tar.TypeLink, Name: "opaque/second", Linkname: "opaque/new"},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "stays", Mode: 0o777},
	)
}

// What comes out is what went in, in each compression, and again when that is put in.
func TestRoundTrip(t *testing.T) {
	b := newBench(t, nil)
	var first []byte
	for i, mediaType := range []string{
		ocispec.MediaTypeImageLayer, ocispec.MediaTypeImageLayerGzip, ocispec.MediaTypeImageLayerZstd,
		images.MediaTypeDockerSchema2Layer, images.MediaTypeDockerSchema2LayerGzip,
	} {
		low, high := fmt.Sprint("low", i), fmt.Sprint("high", i)
		b.layer(low, "", mediaType, base(t))
		b.layer(high, low, mediaType, change(t))
		dir := b.mounted(b.view(high))
		for path, there := range map[string]bool{
			"dir/gone": false, "opaque/hidden": false, "dir": true, "stays": true, "opaque/new": true, "opaque/second": true,
		} {
			if _, err := os.Lstat(filepath.Join(dir, path)); (err == nil) != there {
				t.Errorf("%s: %s: %v", mediaType, path, err)
			}
		}
		var st, second unix.Stat_t
		ok(t, unix.Stat(dir+"/opaque/new", &st))
		ok(t, unix.Stat(dir+"/opaque/second", &second))
		if st.Ino != second.Ino || st.Uid != 12 || st.Gid != 34 || st.Mode&0o7777 != 0o4755 ||
			st.Mtim.Nano() != when.UnixNano() {
			t.Errorf("%s: %+v, %+v", mediaType, st, second)
		}
		colour := make([]byte, 10)
		if n, err := unix.Getxattr(dir+"/opaque/new", "user.colour", colour); err != nil || string(colour[:n]) != "blue" {
			t.Error(mediaType, n, err)
		}
		back := ocispec.MediaTypeImageLayerGzip
		if i == 2 {
			back = ocispec.MediaTypeImageLayerZstd
		}
		desc, err := b.Compare(background, b.view(low), b.view(high), diff.WithMediaType(back),
			diff.WithLabels(map[string]string{"mine": "yes"}))
		ok(t, err)
		out := b.unpacked(desc)
		if first == nil {
			first = out
		}
		if !bytes.Equal(out, first) {
			t.Errorf("%s: another diff", mediaType)
		}
		info, err := b.blobs.Info(background, desc.Digest)
		ok(t, err)
		if info.Labels[labels.LabelUncompressed] != digest.FromBytes(out).String() || info.Labels["mine"] != "yes" ||
			desc.MediaType != back || desc.Size != info.Size {
			t.Errorf("%+v %+v", desc, info)
		}
		again := fmt.Sprint("again", i)
		b.layer(again, low, ocispec.MediaTypeImageLayer, out)
		same, err := b.Compare(background, b.view(low), b.view(again), diff.WithMediaType(ocispec.MediaTypeImageLayer))
		ok(t, err)
		if same.Digest != digest.FromBytes(out) {
			t.Error("applied again it is another layer")
		}
	}
	var names []string
	for r := tar.NewReader(bytes.NewReader(first)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		ok(t, err)
		names = append(names, h.Name)
	}
	for _, want := range []string{"dir/.wh.gone", "opaque/.wh.hidden", "opaque/new", "opaque/second", "link"} {
		if !slices.Contains(names, want) {
			t.Errorf("no %s in %q", want, names)
		}
	}
	if slices.Contains(names, "stays") {
		t.Errorf("%q", names)
	}
}

// docker commit: the container runs on, and its changes become a layer. Against nothing, all is.
func TestCompareRunning(t *testing.T) {
	b := newBench(t, nil)
	b.layer("image", "", ocispec.MediaTypeImageLayer, base(t))
	mounts, err := b.Prepare(background, "container", "image")
	ok(t, err)
	dir := b.mounted(mounts)
	ok(t, os.WriteFile(filepath.Join(dir, "made"), []byte("here"), 0o644))
	ok(t, os.Remove(filepath.Join(dir, "stays")))
	desc, err := b.Compare(background, b.view("image"), mounts)
	ok(t, err)
	if desc.MediaType != ocispec.MediaTypeImageLayerGzip {
		t.Error(desc)
	}
	b.layer("changed", "image", ocispec.MediaTypeImageLayer, b.unpacked(desc))
	got := b.mounted(b.view("changed"))
	if text, err := os.ReadFile(filepath.Join(got, "made")); err != nil || string(text) != "here" {
		t.Error(string(text), err)
	}
	if _, err := os.Lstat(filepath.Join(got, "stays")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	whole, err := b.Compare(background, nil, mounts, diff.WithMediaType(ocispec.MediaTypeImageLayer))
	ok(t, err)
	empty, err := b.View(background, "empty", "")
	ok(t, err)
	same, err := b.Compare(background, empty, mounts, diff.WithMediaType(ocispec.MediaTypeImageLayer))
	ok(t, err)
	for _, one := range []ocispec.Descriptor{whole, same} {
		text := string(b.unpacked(one))
		if !strings.Contains(text, "dir/gone") || !strings.Contains(text, "made") || strings.Contains(text, ".wh.") {
			t.Errorf("%q", text)
		}
	}
}

// SOURCE_DATE_EPOCH, a reference of the caller's, and one that an earlier attempt wrote to.
func TestCompareOptions(t *testing.T) {
	b := newBench(t, nil)
	b.layer("image", "", ocispec.MediaTypeImageLayer, base(t))
	epoch := time.Unix(1000000000, 0)
	left, err := b.blobs.Writer(background, content.WithRef("mine"))
	ok(t, err)
	_, err = left.Write([]byte("of an earlier attempt"))
	ok(t, err)
	ok(t, left.Close())
	desc, err := b.Compare(background, nil, b.view("image"), diff.WithMediaType(ocispec.MediaTypeImageLayer),
		diff.WithSourceDateEpoch(&epoch), diff.WithReference("mine"))
	ok(t, err)
	n := 0
	for r := tar.NewReader(bytes.NewReader(b.unpacked(desc))); ; n++ {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		ok(t, err)
		if h.ModTime.After(epoch) {
			t.Error(h.Name, h.ModTime)
		}
	}
	if n < 5 {
		t.Error(n)
	}
	if _, err := b.blobs.Status(background, "mine"); !errdefs.IsNotFound(err) {
		t.Error("the upload stays: ", err)
	}
	if _, err := b.Compare(background, nil, b.view("image"), diff.WithCompressor(nil), diff.WithMediaType("application/x")); !errdefs.IsNotImplemented(err) {
		t.Error(err)
	}
}

// What is not ours is for containerd's next differ, and says so.
func TestNotOurs(t *testing.T) {
	b := newBench(t, nil)
	layer := b.blob(ocispec.MediaTypeImageLayer, base(t))
	b.layer("image", "", ocispec.MediaTypeImageLayer, base(t))
	mounts, err := b.Prepare(background, "key", "image")
	ok(t, err)
	elsewhere := []mount.Mount{{Type: "bind", Source: t.TempDir(), Options: []string{"rw", "rbind"}}}
	for what, mounts := range map[string][]mount.Mount{
		"a directory": elsewhere,
		"nothing":     nil,
		"two":         {mounts[0], mounts[0]},
		"near":        {{Type: "bind", Source: b.Store().Home() + "/layer/../../etc/root", Options: []string{"rw"}}},
		"mapped":      {{Type: mounts[0].Type, Options: append(slices.Clone(mounts[0].Options), "uidmap=0:1:1", "gidmap=0:1:1")}},
	} {
		if _, err := b.Apply(background, layer, mounts); !errdefs.IsNotImplemented(err) {
			t.Error(what, err)
		}
		if _, err := b.Compare(background, b.view("image"), mounts); !errdefs.IsNotImplemented(err) {
			t.Error(what, err)
		}
		if _, err := b.Compare(background, mounts, b.view("image")); len(mounts) > 0 && !errdefs.IsNotImplemented(err) {
			t.Error(what, err)
		}
	}
	if _, err := b.Apply(background, layer, b.view("image")); !errdefs.IsFailedPrecondition(err) {
		t.Error(err)
	}
	for _, mediaType := range []string{ocispec.MediaTypeImageLayerGzip + "+encrypted", images.MediaTypeErofsLayer, "text/plain"} {
		strange := layer
		strange.MediaType = mediaType
		if _, err := b.Apply(background, strange, mounts); !errdefs.IsNotImplemented(err) {
			t.Error(mediaType, err)
		}
	}
	// None of them touched it: it can still be applied to, once.
	_, err = b.Apply(background, layer, mounts)
	ok(t, err)
	if _, err = b.Apply(background, layer, mounts); !errdefs.IsNotImplemented(err) || !strings.Contains(err.Error(), "not empty") {
		t.Error(err)
	}
}

// After a failure the snapshot is as it was.
func TestApplyFails(t *testing.T) {
	b := newBench(t, nil)
	mounts, err := b.Prepare(background, "key", "")
	ok(t, err)
	whole := base(t)
	_, err = b.Apply(background, b.blob(ocispec.MediaTypeImageLayerGzip, whole[:len(whole)/2+200]), mounts)
	if !errdefs.IsInvalidArgument(err) {
		t.Error(err)
	}
	cancelled, cancel := context.WithCancel(background)
	cancel()
	if _, err = b.Apply(cancelled, b.blob(ocispec.MediaTypeImageLayer, whole), mounts); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	gone, err := b.Prepare(background, "gone", "")
	ok(t, err)
	ok(t, b.Remove(background, "gone"))
	ok(t, b.Snapshotter.Cleanup(background))
	if _, err = b.Apply(background, b.blob(ocispec.MediaTypeImageLayer, whole), gone); !errdefs.IsNotFound(err) {
		t.Error("a snapshot that is gone was applied to: ", err)
	}
	if there, err := b.Store().Layer("2").Exists(); there || err != nil {
		t.Error("a layer that no snapshot has was made: ", err)
	}
	missing := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromString("x"), Size: 1}
	if _, err = b.Apply(background, missing, mounts); !errdefs.IsNotFound(err) {
		t.Error(err)
	}
	if left, err := os.ReadDir(mounts[0].Source); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
	var told []int64
	desc := b.blob(ocispec.MediaTypeImageLayerGzip, whole)
	_, err = b.Apply(background, desc, mounts, diff.WithSyncFs(true),
		diff.WithProgress(func(_ ocispec.Descriptor, n int64) { told = append(told, n) }))
	ok(t, err)
	if len(told) < 2 || told[0] != 0 || told[len(told)-1] != desc.Size {
		t.Error(told, desc.Size)
	}
}

// A processor turns a type that nobody knows into one that libovl reads; its failure is the apply's.
func TestProcessors(t *testing.T) {
	const strange = "application/x-strange"
	for program, works := range map[string]bool{"cat": true, "cat; exit 3": false} {
		b := newBench(t, &differ.Options{Handlers: []diff.Handler{diff.BinaryHandler("id",
			ocispec.MediaTypeImageLayerGzip, []string{strange}, "/bin/sh", []string{"-c", program}, nil)}})
		mounts, err := b.Prepare(background, "key", "")
		ok(t, err)
		desc := b.blob(ocispec.MediaTypeImageLayerGzip, base(t))
		desc.MediaType = strange
		got, err := b.Apply(background, desc, mounts, diff.WithPayloads(map[string]typeurl.Any{}))
		if !works {
			if err == nil {
				t.Error("a processor that failed is no error")
			}
			continue
		}
		ok(t, err)
		if got.Digest != digest.FromBytes(base(t)) {
			t.Error(got)
		}
	}
}
