package differ

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/containerd/v2/pkg/epoch"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	ovl "github.com/libovl/libovl/bindings/go"
	"github.com/libovl/libovl/bindings/go/containerd/internal/errs"
)

// Compare writes a blob of what upper has and lower has not to the content store. No lower is an empty
// tree. A snapshot that a container runs on is read while it changes: each file is as it was at some
// moment of the call. Where one changes so that the tar would be wrong, as when it gets shorter while it
// is read, or goes, the call fails with [errdefs.ErrUnavailable], and may succeed the next time.
func (d *Differ) Compare(ctx context.Context, lower, upper []mount.Mount, opts ...diff.Opt) (ocispec.Descriptor, error) {
	var config diff.Config
	for _, opt := range opts {
		if err := opt(&config); err != nil {
			return ocispec.Descriptor{}, err
		}
	}
	if config.SourceDateEpoch == nil {
		config.SourceDateEpoch = epoch.FromContext(ctx)
	}
	mediaType, pack, err := packer(&config)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	top, err := d.layer(upper)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	base := ovl.Base{Whole: true}
	if len(lower) > 0 {
		below, err := d.layer(lower)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		base = ovl.Base{Parent: below.ID}
	}
	how := &ovl.DiffOptions{Base: base}
	if config.SourceDateEpoch != nil {
		how.Clamp = *config.SourceDateEpoch
	}
	config.MediaType = mediaType
	ctx, end, err := d.leased(outgoing(ctx))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	begin := time.Now()
	blob, err := d.write(ctx, top.ID, how, &config, pack)
	if err != nil {
		end()
		return ocispec.Descriptor{}, fmt.Errorf("diff of layer %s: %w", top.ID, err)
	}
	log.G(ctx).WithFields(log.Fields{
		"digest": blob.Digest, "media": blob.MediaType, "layer": top.ID, "took": time.Since(begin),
	}).Debug("compared")
	return blob, nil
}

// compress puts a compressor before a writer.
type compress func(io.Writer) (io.WriteCloser, error)

// packer is the blob's media type, and what makes it of the tar, nil if nothing does.
func packer(config *diff.Config) (string, compress, error) {
	mediaType := config.MediaType
	if config.Compressor != nil {
		if mediaType == "" {
			return "", nil, fmt.Errorf("a compressor of the caller's needs a media type: %w", errdefs.ErrInvalidArgument)
		}
		return mediaType, func(w io.Writer) (io.WriteCloser, error) { return config.Compressor(w, mediaType) }, nil
	}
	how := compression.Gzip
	switch mediaType {
	case "":
		mediaType = ocispec.MediaTypeImageLayerGzip
	case ocispec.MediaTypeImageLayer:
		return mediaType, nil, nil
	case ocispec.MediaTypeImageLayerGzip:
	case ocispec.MediaTypeImageLayerZstd:
		how = compression.Zstd
	default:
		return "", nil, fmt.Errorf("media type %q: %w", mediaType, errdefs.ErrNotImplemented)
	}
	return mediaType, func(w io.Writer) (io.WriteCloser, error) { return compression.CompressStream(w, how) }, nil
}

// lease is how long what was written is kept at least.
const lease = time.Hour

// leased has a lease in ctx: the caller's, or one that ends by itself, and with end at once.
func (d *Differ) leased(ctx context.Context) (_ context.Context, end func(), err error) {
	if _, has := leases.FromContext(ctx); has || d.leases == nil {
		return ctx, func() {}, nil
	}
	made, err := d.leases.Create(ctx, leases.WithRandomID(), leases.WithExpiration(lease))
	if err != nil {
		return ctx, nil, fmt.Errorf("lease for the diff: %w", err)
	}
	end = func() {
		ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer stop()
		if err := d.leases.Delete(ctx, made); err != nil {
			log.G(ctx).WithError(err).WithField("lease", made.ID).Debug("the lease of a diff that failed stays until it expires")
		}
	}
	return leases.WithLease(ctx, made.ID), end, nil
}

// write makes the blob.
func (d *Differ) write(ctx context.Context, id string, how *ovl.DiffOptions, config *diff.Config,
	pack compress,
) (_ ocispec.Descriptor, err error) {
	ref := config.Reference
	if ref == "" {
		ref = "ovl-diff-" + id + "-" + rand.Text()
	}
	to, err := content.OpenWriter(ctx, d.blobs, content.WithRef(ref),
		content.WithDescriptor(ocispec.Descriptor{MediaType: config.MediaType}))
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("content writer: %w", err)
	}
	committed := false
	defer func() {
		if committed {
			return
		}
		to.Close()
		// One of the caller's may be gone on with.
		if config.Reference == "" {
			if abort := d.blobs.Abort(context.WithoutCancel(ctx), ref); abort != nil && !errdefs.IsNotFound(abort) {
				log.G(ctx).WithError(abort).WithField("ref", ref).Warn("the beginning of a diff stays in the content store")
			}
		}
	}()
	// Another attempt may have written to it.
	if config.Reference != "" {
		if err := to.Truncate(0); err != nil {
			return ocispec.Descriptor{}, err
		}
	}
	info, err := d.stream(ctx, id, how, to, pack)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	all := maps.Clone(config.Labels)
	if pack != nil {
		if all == nil {
			all = map[string]string{}
		}
		all[labels.LabelUncompressed] = info.DiffID
	}
	digest := to.Digest()
	err = to.Commit(ctx, 0, digest, content.WithLabels(all))
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return ocispec.Descriptor{}, fmt.Errorf("commit of the blob: %w", err)
	}
	committed = true
	there, err := d.blobs.Info(ctx, digest)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("blob %s: %w", digest, err)
	}
	// A blob that was there already may not have it, and a push needs it.
	if pack != nil && there.Labels[labels.LabelUncompressed] != info.DiffID {
		there.Labels = map[string]string{labels.LabelUncompressed: info.DiffID}
		if _, err := d.blobs.Update(ctx, there, "labels."+labels.LabelUncompressed); err != nil {
			return ocispec.Descriptor{}, fmt.Errorf("label of blob %s: %w", digest, err)
		}
	}
	return ocispec.Descriptor{MediaType: config.MediaType, Size: there.Size, Digest: digest}, nil
}

// stream writes the tar to the content store.
func (d *Differ) stream(ctx context.Context, id string, how *ovl.DiffOptions, to io.Writer,
	pack compress,
) (ovl.LayerInfo, error) {
	buffer := bufio.NewWriterSize(to, chunk)
	var tar io.Writer = buffer
	var packed io.WriteCloser
	if pack != nil {
		var err error
		if packed, err = pack(buffer); err != nil {
			return ovl.LayerInfo{}, err
		}
		tar = packed
	}
	info, err := d.store.Layer(id).Diff(ctx, tar, how)
	// Whatever came of it: a compressor may have goroutines.
	if packed != nil {
		if end := packed.Close(); err == nil && end != nil {
			return info, end
		}
	}
	switch {
	case errors.Is(err, ovl.ErrChanged):
		return info, fmt.Errorf("%w (try again, or pause what writes to it)", errs.Of(err))
	case err != nil:
		return info, errs.Of(err)
	}
	return info, buffer.Flush()
}
