// Command peers applies and makes layer tars with the archive code of other projects, so that the
// tests can compare with what libovl does.
//
//	peers apply PEER DIR <TAR          puts a layer on a plain directory
//	peers diff PEER OLD NEW >TAR       tells two plain directories apart
//	peers list FILE                    the entries of an archive
//	peers upper PEER LOWER UPPER >TAR  makes a layer of an overlay's upper
package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	apex "github.com/apex/log"
	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/containerd/continuity/fs"
	"github.com/containerd/log"
	moby "github.com/moby/go-archive"
	"github.com/moby/sys/user"
	"github.com/opencontainers/umoci/oci/layer"
	"github.com/opencontainers/umoci/pkg/fseval"
	"github.com/opencontainers/umoci/pkg/mtreefilter"
	"github.com/sirupsen/logrus"
	"github.com/vbatts/go-mtree"
)

var errUsage = errors.New("usage: peers apply|diff|upper PEER DIR [DIR]")

func main() {
	// What is not carried is seen in the tree; warnings would hide the one error.
	log.L.Logger.SetLevel(logrus.ErrorLevel)
	apex.SetLevel(apex.ErrorLevel)
	syscall.Umask(0)
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) == 2 && args[0] == "list" {
		return list(args[1], out)
	}
	if len(args) < 3 {
		return errUsage
	}
	what, peer, dirs := args[0], args[1], args[2:]
	if what == "apply" && len(dirs) == 1 {
		if apply, ok := appliers[peer]; ok {
			return apply(dirs[0], in)
		}
	}
	if what == "diff" && len(dirs) == 2 {
		if diff, ok := differs[peer]; ok {
			return diff(dirs[0], dirs[1], out)
		}
	}
	if what == "upper" && len(dirs) == 2 {
		if upper, ok := uppers[peer]; ok {
			return upper(dirs[0], dirs[1], out)
		}
	}
	return errUsage
}

// list tells the entries as the reader has them that all three appliers use.
func list(file string, out io.Writer) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	for reader := tar.NewReader(in); ; {
		header, err := reader.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(out, header.Uid, header.Gid, header.Size, header.Name)
	}
}

var appliers = map[string]func(dir string, in io.Reader) error{
	"containerd": func(dir string, in io.Reader) error {
		_, err := archive.Apply(context.Background(), dir, in)
		return err
	},
	"moby": func(dir string, in io.Reader) error {
		_, err := moby.ApplyUncompressedLayer(dir, in, &moby.TarOptions{})
		return err
	},
	"umoci": func(dir string, in io.Reader) error {
		return layer.UnpackLayer(dir, in, &layer.UnpackOptions{OnDiskFormat: layer.DirRootfs{}})
	},
}

var differs = map[string]func(old, new string, out io.Writer) error{
	"containerd": func(old, new string, out io.Writer) error {
		return archive.WriteDiff(context.Background(), out, old, new)
	},
	"moby": func(old, new string, out io.Writer) error {
		changes, err := moby.ChangesDirs(new, old)
		if err != nil {
			return err
		}
		layer, err := moby.ExportChanges(new, changes, user.IdentityMapping{})
		return send(out, layer, err)
	},
	"umoci": func(old, new string, out io.Writer) error {
		return walked(old, new, layer.DirRootfs{}, out)
	},
}

var uppers = map[string]func(lower, upper string, out io.Writer) error{
	"containerd": func(lower, upper string, out io.Writer) error {
		writer := archive.NewChangeWriter(out, upper)
		source := fs.DiffSource(fs.DiffSourceOverlayFS)
		if err := fs.DiffDirChanges(context.Background(), lower, upper, source, writer.HandleChange); err != nil {
			return err
		}
		return writer.Close()
	},
	"moby": func(_, upper string, out io.Writer) error {
		layer, err := moby.TarWithOptions(upper, &moby.TarOptions{WhiteoutFormat: moby.OverlayWhiteoutFormat})
		return send(out, layer, err)
	},
	"umoci": func(_, upper string, out io.Writer) error {
		none, err := os.MkdirTemp("", "peers")
		if err != nil {
			return err
		}
		defer os.Remove(none)
		return walked(none, upper, layer.OverlayfsRootfs{}, out)
	},
}

// What umoci compares in a bundle.
var keywords = []mtree.Keyword{
	"size", "type", "uid", "gid", "mode", "link", "nlink", "tar_time", "sha256digest", "xattr",
}

func walked(old, new string, format layer.OnDiskFormat, out io.Writer) error {
	before, err := mtree.Walk(old, nil, keywords, fseval.Default)
	if err != nil {
		return err
	}
	// As from the manifest that was stored when the old tree was unpacked.
	var spec bytes.Buffer
	if _, err := before.WriteTo(&spec); err != nil {
		return err
	}
	before, err = mtree.ParseSpec(&spec)
	if err != nil {
		return err
	}
	deltas, err := mtree.Check(new, before, keywords, fseval.Default)
	if err != nil {
		return err
	}
	deltas = mtreefilter.FilterDeltas(deltas, mtreefilter.SimplifyFilter(deltas))
	made, err := layer.GenerateLayer(new, deltas, &layer.RepackOptions{OnDiskFormat: format})
	return send(out, made, err)
}

func send(out io.Writer, in io.ReadCloser, err error) error {
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, in.Close())
}
