package main

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	ok(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestConfig(t *testing.T) {
	path := configFile(t, `
root = "/r"
log_level = "warn"
durability = "none"
mount_options = ["noatime"]
shutdown_timeout = "1m"
[stream_processors."decrypt"]
accepts = ["a/b"]
returns = "c/d"
path = "/bin/cat"
`)
	c, err := configure([]string{"--config", path, "--root", "/flag", "--metrics-address", ":1"}, io.Discard)
	ok(t, err)
	if c.Root != "/flag" || c.LogLevel != "warn" || c.Durability != "none" || c.MetricsAddress != ":1" ||
		time.Duration(c.ShutdownTimeout) != time.Minute || len(c.handlers()) != 1 || c.Address != defaults().Address {
		t.Errorf("%+v", c)
	}
	for text, says := range map[string]string{
		"rooot = 1":                       "unknown setting",
		"root = 1":                        "string",
		"root = ":                         "config.toml",
		"root = ''":                       "empty",
		"durability = 'most'":             "verified",
		"log_format = 'xml'":              "json",
		"max_concurrent_diffs = 0":        "less than 1",
		"max_layer_size = 0":              "less than 1",
		"max_layer_entries = -1":          "less than 1",
		"containerd_address = 'c.sock'":   "absolute",
		"shutdown_timeout = '-1s'":        "negative",
		"[stream_processors.x]\npath='y'": "absolute",
	} {
		_, err := configure([]string{"--config", configFile(t, text)}, io.Discard)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := configure([]string{"--config", "/nonexistent"}, io.Discard); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := configure([]string{"more"}, io.Discard); err == nil {
		t.Error("an argument")
	}
	var said strings.Builder
	if _, err := configure([]string{"--version"}, &said); err != flag.ErrHelp || !strings.Contains(said.String(), "libovl ") {
		t.Error(err, said.String())
	}
}

// The file that is installed says what holds without it.
func TestInstalledConfig(t *testing.T) {
	const path = "../../packaging/config.toml"
	c, err := configure([]string{"--config", path}, io.Discard)
	ok(t, err)
	d := defaults()
	if c.Root != d.Root || c.Address != d.Address || c.ContainerdAddress != d.ContainerdAddress || c.LogLevel != d.LogLevel ||
		c.Durability != d.Durability || c.ShutdownTimeout != d.ShutdownTimeout || c.MaxDiffs != d.MaxDiffs ||
		c.MaxLayerSize != d.MaxLayerSize || c.MaxLayerEntries != d.MaxLayerEntries {
		t.Errorf("%+v", c)
	}
	// Every setting is in it, commented out or not.
	text, err := os.ReadFile(path)
	ok(t, err)
	for _, name := range []string{"root", "address", "containerd_address", "log_level", "log_format", "metrics_address",
		"durability", "mount_options", "max_concurrent_diffs", "max_layer_size", "max_layer_entries", "shutdown_timeout", "stream_processors"} {
		if !strings.Contains(string(text), name) {
			t.Error(name)
		}
	}
}
