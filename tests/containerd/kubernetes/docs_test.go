package kubernetes

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	toml "github.com/pelletier/go-toml/v2"
)

// blocks are the blocks of code of a language in a document.
func blocks(t *testing.T, document, language string) (all []string) {
	text := string(mustRead(t, filepath.Join("../../../docs", document)))
	for _, part := range strings.Split(text, "```"+language+"\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		all = append(all, block)
	}
	return all
}

func tables(t *testing.T, text string) (all map[string]any) {
	t.Helper()
	if err := toml.Unmarshal([]byte(text), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// What the guides print of containerd's configuration is what is in the files.
func TestDocsHaveTheFiles(t *testing.T) {
	dropIn2, pods2 := tables(t, string(read(t, "containerd/containerd-2.toml"))), tables(t, string(read(t, "containerd/containerd-2-cri.toml")))
	pods1 := tables(t, ofPods(t, "containerd-1.7.toml"))
	delete(pods1, "version")
	for document, want := range map[string][]map[string]any{
		"containerd.md": {tables(t, `imports = ["/etc/containerd/conf.d/*.toml"]`), dropIn2, pods2, pods1},
		"kubernetes.md": {pods1},
	} {
		got := blocks(t, document, "toml")
		if len(got) != len(want) {
			t.Fatalf("%s has %d blocks, not %d", document, len(got), len(want))
		}
		for i, block := range got {
			if !reflect.DeepEqual(tables(t, block), want[i]) {
				t.Errorf("%s: no file says\n%s", document, block)
			}
		}
	}
	for _, block := range blocks(t, "containerd.md", "json") {
		if !json.Valid([]byte(block)) {
			t.Errorf("no JSON: %s", block)
		}
	}
}

// What the guides name of the repository is there.
func TestDocsNameWhatIsThere(t *testing.T) {
	places := regexp.MustCompile("`((?:bindings|tests|packaging|kubernetes|containerd)/[a-zA-Z0-9_./-]+)`|\\]\\(([a-z-]+\\.md)")
	found := 0
	for _, document := range []string{"containerd.md", "kubernetes.md"} {
		for _, match := range places.FindAllStringSubmatch(string(mustRead(t, filepath.Join("../../../docs", document))), -1) {
			found++
			tries := []string{filepath.Join("../../../docs", match[2])}
			if name := match[1]; name != "" {
				tries = []string{filepath.Join("../../..", name), filepath.Join(packaging, name), filepath.Join(packaging, "..", name)}
			}
			there := false
			for _, path := range tries {
				_, err := os.Stat(path)
				there = there || err == nil
			}
			if !there {
				t.Errorf("%s names %s%s", document, match[1], match[2])
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d names were found", found)
	}
}
