package ovl

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"time"

	"github.com/libovl/libovl/bindings/go/internal/capi"
)

// ImportOptions are the options of [Store.ImportImage].
type ImportOptions struct {
	// Ref says which image of an archive that holds several: its name, the end of it after a slash, or
	// its tag; "" is the only one.
	Ref string
	// Platform is "os/architecture" or "os/architecture/variant"; "" is Linux on this machine.
	Platform string
	// KeepBlobs keeps the layers' blobs as they came, beside the manifest and the config, so that an
	// export is what was imported, byte for byte.
	KeepBlobs bool
	// Kind is that of the layers that have a parent.
	Kind       Kind
	Durability Durability
	// Strict fails with [ErrStrict] where otherwise something of a layer is left out and counted.
	Strict bool
	// NoDevices leaves out device nodes, and counts them.
	NoDevices bool
	// Limits hold for each layer; Size also for an archive that comes as a stream or compressed.
	Limits   Limits
	Progress func(Progress) error
}

// ImageInfo is what is known of an image. Strings are "" where nothing is known.
type ImageInfo struct {
	Name     string
	Layer    string // its topmost layer, which a container is created over; "" for an image without layers
	Manifest string // the digest of the manifest that it was imported from, or that an export wrote
	Config   string // the digest of its config: the image ID
	Size     int64  // the sizes of its layers together, as [LayerInfo].Size counts
	Layers   int
	Created  time.Time // when it was imported
	Blobs    bool      // the originals are kept, or were written
	Skipped  Skipped   // what was left out of its layers, by the import or export that tells this
	Made     int       // how many layers the import made; the others were there
}

// ImportImage makes the image name of an archive: an OCI layout or what docker save writes, plain or
// compressed by gzip or zstd. It reads r to its end. An [*os.File] is read by its descriptor; it may be
// a directory: a layout, or an unpacked docker save.
//
// A name is 1 to 200 of A-Z a-z 0-9 . _ - + @ / and at most one colon, and begins with a letter or digit.
//
// Every digest is verified, and nothing is fetched from anywhere. The layers are named by their chain
// IDs, as sha256-HEX; those that are there are used. The image appears, or takes the place of one of its
// name, at once; after a failure it is as it was.
func (s *Store) ImportImage(ctx context.Context, name string, r io.Reader, opts *ImportOptions) (ImageInfo, error) {
	if opts == nil {
		opts = &ImportOptions{}
	}
	limits, ok := opts.Limits.raw()
	if !ok {
		return ImageInfo{}, invalid("import", name, "a limit is out of its range")
	}
	raw := capi.ImportOpts{
		KeepBlobs:  opts.KeepBlobs,
		Strict:     opts.Strict,
		NoDevices:  opts.NoDevices,
		Ref:        opts.Ref,
		Platform:   opts.Platform,
		Kind:       uint32(opts.Kind),
		Durability: uint32(opts.Durability),
		Limits:     limits,
	}
	c := newCall("import", name, opts.Progress)
	var info ImageInfo
	err := c.source(r, func(fd int) error {
		return s.run(ctx, c, func(st *capi.Store, call capi.Call) *capi.Error {
			said, e := st.ImageImport(name, fd, raw, call)
			if e == nil {
				info = imageInfo(name, said)
			}
			return e
		})
	})
	return info, err
}

// ExportOptions are the options of [Store.ExportImage].
type ExportOptions struct {
	// Ref is what the layout calls the image (org.opencontainers.image.ref.name); "" is the tag of its
	// name, or "latest".
	Ref      string
	Progress func(Progress) error
}

// ExportImage writes the image as a tar of an OCI layout to w. If w is an [*os.File] that is a directory,
// which must be empty, the layout is written into it.
//
// An image that was imported with KeepBlobs is written as it was, byte for byte. Otherwise the layer tars
// are made anew, so that their digests, and those of the manifest and config that are told, differ.
func (s *Store) ExportImage(ctx context.Context, name string, w io.Writer, opts *ExportOptions) (ImageInfo, error) {
	if opts == nil {
		opts = &ExportOptions{}
	}
	c := newCall("export", name, opts.Progress)
	var info ImageInfo
	err := c.sink(w, func(fd int) error {
		return s.run(ctx, c, func(st *capi.Store, call capi.Call) *capi.Error {
			said, e := st.ImageExport(name, fd, opts.Ref, call)
			if e == nil {
				info = imageInfo(name, said)
			}
			return e
		})
	})
	return info, err
}

// RemoveImageOptions are the options of [Store.RemoveImage].
type RemoveImageOptions struct {
	Progress func(Progress) error
}

// RemoveImage removes the image, and those of its layers that no other image lists, that no layer is
// built on and that are not in use.
func (s *Store) RemoveImage(ctx context.Context, name string, opts *RemoveImageOptions) error {
	if opts == nil {
		opts = &RemoveImageOptions{}
	}
	return s.run(ctx, newCall("removeimage", name, opts.Progress),
		func(st *capi.Store, c capi.Call) *capi.Error { return st.ImageRemove(name, c) })
}

// Image tells what is known of an image. Where there is none, the error is [fs.ErrNotExist].
func (s *Store) Image(name string) (ImageInfo, error) {
	var info ImageInfo
	err := s.do("image", name, func(st *capi.Store) *capi.Error {
		said, e := st.ImageStat(name)
		if e == nil {
			info = imageInfo(name, said)
		}
		return e
	})
	return info, err
}

func imageInfo(name string, raw capi.ImageInfo) ImageInfo {
	return ImageInfo{
		Name:     name,
		Layer:    raw.Layer,
		Manifest: raw.Manifest,
		Config:   raw.Config,
		Size:     int64(raw.Size),
		Layers:   int(raw.Layers),
		Created:  time.Unix(raw.CreatedSec, int64(raw.CreatedNsec)),
		Blobs:    raw.Blobs,
		Skipped: Skipped{
			Devices: int64(raw.SkippedDevices),
			Owners:  int64(raw.SkippedOwners),
			Xattrs:  int64(raw.SkippedXattrs),
		},
		Made: int(raw.Made),
	}
}

// ImageEntry is an image in a list.
type ImageEntry struct {
	Name   string
	Layer  string // its topmost layer, "" where it has none
	Layers int
}

// Images are the images of the store at one moment, by name. What is damaged is left out, and told by
// [Store.Check].
func (s *Store) Images() iter.Seq2[ImageEntry, error] {
	return items(context.Background(), s,
		func() *call { return newCall("images", s.home, nil) },
		func(raw *capi.Store, _ capi.Call) (*capi.Iter, *capi.Error) { return raw.ImageList() },
		func(item capi.Item) ImageEntry {
			return ImageEntry{Name: item.Name, Layer: item.Detail, Layers: int(item.What)}
		})
}

// ImageConfig is what an image runs, and its layers.
type ImageConfig struct {
	JSON       json.RawMessage // the config as it came, byte for byte
	Env        []string        // "KEY=value", each
	Entrypoint []string
	Cmd        []string
	WorkingDir string
	User       string // "user", "uid", "user:group" or "uid:gid"
	Labels     map[string]string
	Layers     []ImageLayer // the lowest first
}

// ImageLayer is a layer of an image.
type ImageLayer struct {
	ID     string
	DiffID string
}

// ImageConfig tells what the image runs, and its layers.
func (s *Store) ImageConfig(name string) (ImageConfig, error) {
	var config ImageConfig
	for item, err := range items(context.Background(), s,
		func() *call { return newCall("imageconfig", name, nil) },
		func(raw *capi.Store, _ capi.Call) (*capi.Iter, *capi.Error) { return raw.ImageConfig(name) },
		func(item capi.Item) capi.Item { return item },
	) {
		if err != nil {
			return ImageConfig{}, err
		}
		config.add(item)
	}
	return config, nil
}

func (c *ImageConfig) add(item capi.Item) {
	switch item.What {
	case capi.ConfigJSON:
		c.JSON = json.RawMessage(item.Name)
	case capi.ConfigEnv:
		c.Env = append(c.Env, item.Name)
	case capi.ConfigEntrypoint:
		c.Entrypoint = append(c.Entrypoint, item.Name)
	case capi.ConfigCmd:
		c.Cmd = append(c.Cmd, item.Name)
	case capi.ConfigWorkingDir:
		c.WorkingDir = item.Name
	case capi.ConfigUser:
		c.User = item.Name
	case capi.ConfigLabel:
		if c.Labels == nil {
			c.Labels = map[string]string{}
		}
		c.Labels[item.Detail] = item.Name
	case capi.ConfigLayer:
		c.Layers = append(c.Layers, ImageLayer{ID: item.Name, DiffID: item.Detail})
	}
}
