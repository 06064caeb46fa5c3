package spec

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestPortable(t *testing.T) {
	defer func(old string) { parameters = old }(parameters)
	parameters = t.TempDir()
	set := func(name, value string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(parameters, name), []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(options, want []string) {
		t.Helper()
		if got := Portable(slices.Clone(options)); !slices.Equal(got, want) {
			t.Errorf("of %q %q stay, not %q", options, got, want)
		}
	}
	writable := []string{"lowerdir=/a", "upperdir=/b", "workdir=/c", "index=off", "metacopy=off", "xino=off", "nfs_export=off", "ro"}
	check(writable, writable) // the kernel says nothing
	for _, name := range []string{"metacopy", "xino_auto", "nfs_export"} {
		set(name, "N")
	}
	check(writable, []string{"lowerdir=/a", "upperdir=/b", "workdir=/c", "index=off", "ro"})
	check([]string{"lowerdir=/a:/b", "metacopy=off", "ro"}, []string{"lowerdir=/a:/b"})
	set("metacopy", "Y")
	check(writable, []string{"lowerdir=/a", "upperdir=/b", "workdir=/c", "index=off", "metacopy=off", "ro"})
}
