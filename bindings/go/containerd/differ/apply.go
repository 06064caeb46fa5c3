package differ

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	ovl "github.com/libovl/libovl/bindings/go"
	"github.com/libovl/libovl/bindings/go/containerd/internal/errs"
)

// chunk is how much of a blob one request reads or writes: containerd answers each.
const chunk = 1 << 20

// Apply applies the blob to the active snapshot that the mounts show, which must be empty: the tree is
// made beside it and takes its place when it is whole. What is in the snapshot already is for the next
// differ of containerd's, which writes over it.
func (d *Differ) Apply(ctx context.Context, blob ocispec.Descriptor, mounts []mount.Mount, opts ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	begin := time.Now()
	var config diff.ApplyConfig
	for _, opt := range opts {
		if err := opt(ctx, blob, &config); err != nil {
			return ocispec.Descriptor{}, err
		}
	}
	found, err := d.layer(mounts)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if !found.Writable {
		return ocispec.Descriptor{}, fmt.Errorf("apply to a read-only snapshot: %w", errdefs.ErrFailedPrecondition)
	}
	ctx = outgoing(ctx)
	from, err := d.blobs.ReaderAt(ctx, blob)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("blob %s: %w", blob.Digest, err)
	}
	defer from.Close()
	read := &progressed{from: content.NewReader(from), told: config.Progress}
	tar, err := d.process(ctx, blob.MediaType, bufio.NewReaderSize(read, chunk), &config)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer tar.close()
	durability := ovl.DurabilityFull
	if d.unsynced && !config.SyncFs {
		durability = ovl.DurabilityNone
	}
	info, err := d.store.Apply(ctx, found.ID, tar, &ovl.ApplyOptions{
		Writable: true, Existing: true, Durability: durability, Limits: d.limits,
	})
	switch {
	case errors.Is(err, ovl.ErrNotEmpty):
		return ocispec.Descriptor{}, fmt.Errorf("apply to a snapshot that is not empty (%v): %w", err, errdefs.ErrNotImplemented)
	case err != nil:
		return ocispec.Descriptor{}, fmt.Errorf("apply %s: %w", blob.Digest, errs.Of(err))
	}
	read.tell()
	entry := log.G(ctx).WithFields(log.Fields{
		"digest": blob.Digest, "media": blob.MediaType, "layer": found.ID, "took": time.Since(begin),
	})
	if info.Skipped != (ovl.Skipped{}) {
		entry.WithField("skipped", fmt.Sprintf("%+v", info.Skipped)).Warn("not all of the layer could be made here")
	}
	entry.Debug("applied")
	return ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageLayer,
		Size:      info.TarSize,
		Digest:    digest.Digest(info.DiffID),
	}, nil
}

// progressed tells how much was read before each read, and at the end.
type progressed struct {
	from io.Reader
	told func(int64)
	n    int64
}

func (p *progressed) Read(b []byte) (int, error) {
	p.tell()
	n, err := p.from.Read(b)
	p.n += int64(n)
	return n, err
}

func (p *progressed) tell() {
	if p.told != nil {
		p.told(p.n)
	}
}

// processed is a stream that went through processors. It ends when they have: a program that fails
// after its last byte is no end, so that nothing comes of what it wrote.
type processed struct {
	io.Reader
	ctx   context.Context
	steps []diff.StreamProcessor
}

func (p *processed) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if err == io.EOF {
		for _, step := range p.steps {
			if step, ok := step.(interface{ Wait(context.Context) error }); ok {
				if failed := step.Wait(p.ctx); failed != nil {
					return n, fmt.Errorf("stream processor: %w", failed)
				}
			}
		}
	}
	return n, err
}

func (p *processed) close() {
	for _, step := range p.steps {
		step.Close()
	}
}

// maxSteps ends a chain of processors that turn types into one another.
const maxSteps = 16

// process puts the blob through the handlers that take its media type, until it is of a type that
// libovl reads.
func (d *Differ) process(ctx context.Context, mediaType string, blob io.Reader, config *diff.ApplyConfig) (*processed, error) {
	var step diff.StreamProcessor = diff.NewProcessorChain(mediaType, blob)
	done := &processed{Reader: step, ctx: ctx}
	for range maxSteps {
		init := d.handler(ctx, step.MediaType())
		if init == nil {
			if !known(ctx, step.MediaType()) {
				done.close()
				return nil, fmt.Errorf("media type %q: %w", step.MediaType(), errdefs.ErrNotImplemented)
			}
			return done, nil
		}
		next, err := init(ctx, step, config.ProcessorPayloads)
		if err != nil {
			done.close()
			return nil, fmt.Errorf("processor of %q: %w", step.MediaType(), err)
		}
		done.steps = append(done.steps, next)
		done.Reader, step = next, next
		if step.MediaType() == ocispec.MediaTypeImageLayer {
			return done, nil
		}
	}
	done.close()
	return nil, fmt.Errorf("media type %q goes through more than %d processors: %w", mediaType, maxSteps, errdefs.ErrInvalidArgument)
}

func (d *Differ) handler(ctx context.Context, mediaType string) diff.StreamProcessorInit {
	for i := len(d.handlers) - 1; i >= 0; i-- {
		if init, ok := d.handlers[i](ctx, mediaType); ok {
			return init
		}
	}
	return nil
}

// known tells whether a blob of that type is a layer tar, plain or by gzip or zstd, which libovl finds
// out by itself.
func known(ctx context.Context, mediaType string) bool {
	compression, err := images.DiffCompression(ctx, mediaType)
	// It looks at one suffix, and says no compression of what is wrapped in something that it does not
	// know, as encryption.
	if err != nil || strings.Count(mediaType, "+") > 1 {
		return false
	}
	return compression != "" || mediaType == ocispec.MediaTypeImageLayer ||
		mediaType == ocispec.MediaTypeImageLayerNonDistributable //nolint:staticcheck // old images have it
}
