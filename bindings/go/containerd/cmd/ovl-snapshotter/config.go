package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/diff"
	toml "github.com/pelletier/go-toml/v2"

	ovl "github.com/libovl/libovl/bindings/go"
)

// defaultConfig is read where it is there and no other is named.
const defaultConfig = "/etc/ovl-snapshotter/config.toml"

// config is what the file and the flags say. A flag goes before the file.
type config struct {
	Root              string   `toml:"root"`
	Address           string   `toml:"address"`
	ContainerdAddress string   `toml:"containerd_address"`
	LogLevel          string   `toml:"log_level"`
	LogFormat         string   `toml:"log_format"`
	MetricsAddress    string   `toml:"metrics_address"`
	Durability        string   `toml:"durability"`
	MountOptions      []string `toml:"mount_options"`
	MaxDiffs          int      `toml:"max_concurrent_diffs"`
	MaxLayerSize      int64    `toml:"max_layer_size"`
	MaxLayerEntries   int64    `toml:"max_layer_entries"`
	ShutdownTimeout   duration `toml:"shutdown_timeout"`
	// Processors are as in containerd's own configuration.
	Processors map[string]processor `toml:"stream_processors"`
}

type processor struct {
	Accepts []string `toml:"accepts"`
	Returns string   `toml:"returns"`
	Path    string   `toml:"path"`
	Args    []string `toml:"args"`
	Env     []string `toml:"env"`
}

// duration is written as "10s".
type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	value, err := time.ParseDuration(string(text))
	if err == nil && value < 0 {
		err = fmt.Errorf("%s is negative", text)
	}
	*d = duration(value)
	return err
}

func defaults() config {
	return config{
		Root:              "/var/lib/ovl-snapshotter",
		Address:           "/run/ovl-snapshotter/ovl-snapshotter.sock",
		ContainerdAddress: "/run/containerd/containerd.sock",
		LogLevel:          "info",
		LogFormat:         "text",
		Durability:        "full",
		MaxDiffs:          max(4, 2*runtime.NumCPU()),
		MaxLayerSize:      4 << 40,
		MaxLayerEntries:   1 << 28,
		ShutdownTimeout:   duration(10 * time.Second),
	}
}

var durabilities = map[string]ovl.Durability{
	"none":     ovl.DurabilityNone,
	"full":     ovl.DurabilityFull,
	"verified": ovl.DurabilityVerified,
}

// configure reads the command line and the file that it names. It is flag.ErrHelp where that was all
// that was asked for.
func configure(args []string, out io.Writer) (config, error) {
	c := defaults()
	set := flag.NewFlagSet("ovl-snapshotter", flag.ContinueOnError)
	set.SetOutput(out)
	file := set.String("config", "", "configuration `FILE` (default "+defaultConfig+" where it is there)")
	version := set.Bool("version", false, "tell the version and exit")
	given := map[string]func(*config){}
	text := func(name, usage string, to func(*config) *string) {
		set.Func(name, usage+" (default "+*to(&c)+")", func(value string) error {
			given[name] = func(c *config) { *to(c) = value }
			return nil
		})
	}
	text("root", "`DIR` of the snapshots", func(c *config) *string { return &c.Root })
	text("address", "`SOCKET` to serve on", func(c *config) *string { return &c.Address })
	text("containerd-address", "containerd's `SOCKET`, for the blobs of the differ; '' serves no differ",
		func(c *config) *string { return &c.ContainerdAddress })
	text("log-level", "`LEVEL`: trace, debug, info, warn, error", func(c *config) *string { return &c.LogLevel })
	text("log-format", "`FORMAT`: text, json", func(c *config) *string { return &c.LogFormat })
	text("metrics-address", "`ADDRESS` of the metrics: HOST:PORT or unix:PATH; '' serves none",
		func(c *config) *string { return &c.MetricsAddress })
	if err := set.Parse(args); err != nil {
		return c, err
	}
	if set.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	if *version {
		fmt.Fprintf(out, "ovl-snapshotter, libovl %s\n", ovl.Version())
		return c, flag.ErrHelp
	}
	if err := c.read(*file); err != nil {
		return c, err
	}
	for _, apply := range given {
		apply(&c)
	}
	return c, c.check()
}

func (c *config) read(path string) error {
	optional := path == ""
	if optional {
		path = defaultConfig
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && optional {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	err = toml.NewDecoder(file).DisallowUnknownFields().Decode(c)
	var strict *toml.StrictMissingError
	var decode *toml.DecodeError
	switch {
	case errors.As(err, &strict):
		return fmt.Errorf("%s: unknown setting:\n%s", path, strict.String())
	case errors.As(err, &decode):
		return fmt.Errorf("%s:\n%s", path, decode.String())
	case err != nil:
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (c *config) check() error {
	if _, ok := durabilities[c.Durability]; !ok {
		return fmt.Errorf("durability %q is none of none, full, verified", c.Durability)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		return fmt.Errorf("log format %q is none of text, json", c.LogFormat)
	}
	if c.Root == "" {
		return errors.New("the root is empty")
	}
	if c.MaxDiffs < 1 {
		return fmt.Errorf("max_concurrent_diffs %d is less than 1", c.MaxDiffs)
	}
	if c.MaxLayerSize < 1 || c.MaxLayerEntries < 1 {
		return fmt.Errorf("max_layer_size %d or max_layer_entries %d is less than 1", c.MaxLayerSize, c.MaxLayerEntries)
	}
	// What is relative would be looked for elsewhere by each program that reads it.
	if path := strings.TrimPrefix(c.ContainerdAddress, "unix://"); c.ContainerdAddress != "" && !filepath.IsAbs(path) {
		return fmt.Errorf("containerd_address %q is not the absolute path of a socket", c.ContainerdAddress)
	}
	for name, p := range c.Processors {
		if len(p.Accepts) == 0 || p.Returns == "" || !filepath.IsAbs(p.Path) {
			return fmt.Errorf("stream_processors.%s needs accepts, returns, and a path that is absolute", name)
		}
	}
	return nil
}

// handlers are the stream processors, in the order of their names.
func (c *config) handlers() []diff.Handler {
	names := make([]string, 0, len(c.Processors))
	for name := range c.Processors {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	var all []diff.Handler
	for _, name := range names {
		p := c.Processors[name]
		all = append(all, diff.BinaryHandler(name, p.Returns, p.Accepts, p.Path, p.Args, p.Env))
	}
	return all
}
