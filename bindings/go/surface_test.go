package ovl_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// header is the ovl.h that the package was built with.
func header(t *testing.T) string {
	t.Helper()
	need(t, "pkg-config")
	dir, err := exec.Command("pkg-config", "--variable=includedir", "ovl").Output()
	ok(t, err)
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "ovl.h"))
	ok(t, err)
	// Its comments name functions and constants too.
	return regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAllString(string(text), "")
}

func sources(t *testing.T, patterns ...string) string {
	t.Helper()
	var all strings.Builder
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		ok(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			ok(t, err)
			all.Write(text)
		}
	}
	if all.Len() == 0 {
		t.Fatal("no sources here: the test is run in another directory than the package's")
	}
	return all.String()
}

// Every function, constant and member of the header is used.
func TestHeaderIsBound(t *testing.T) {
	h := header(t)
	goSide, cSide := sources(t, "internal/capi/*.go"), sources(t, "internal/capi/*.c")
	found := func(what, pattern string, used func(name string) bool, least int) {
		all := regexp.MustCompile(pattern).FindAllStringSubmatch(h, -1)
		if len(all) < least {
			t.Fatalf("%d %s in the header", len(all), what)
		}
		for _, match := range all {
			if name := match[1]; !used(name) {
				t.Errorf("%s %s is not used", what, name)
			}
		}
	}
	found("function", `(?m)\b(ovl_\w+)\([^)]*\);`, func(name string) bool {
		return strings.Contains(goSide, "C."+name+"(") || strings.Contains(cSide, " "+name+"(")
	}, 37)
	// The versions are for those who compile against one header and run with another library.
	found("constant", `(?m)^#define (OVL_\w+) \d+`, func(name string) bool {
		return strings.HasPrefix(name, "OVL_VERSION_") ||
			regexp.MustCompile(`\bC\.`+name+`\b`).MatchString(goSide)
	}, 70)
	found("member", `(?m)^    [^(]*?\b(\w+)(?:\[\d+\])?;`, func(name string) bool {
		return name == "reserved" ||
			regexp.MustCompile(`\.`+name+`\b|\b`+name+`:`).MatchString(goSide+cSide)
	}, 90)
}

func TestNoGoroutineIsLockedToItsThread(t *testing.T) {
	code := regexp.MustCompile(`(?m)^\s*//.*`).ReplaceAllString(sources(t, "*.go", "internal/capi/*"), "")
	if strings.Contains(code, "LockOS"+"Thread") {
		t.Error("a goroutine is locked to its thread")
	}
}

// C is in one package.
func TestOnlyOnePackageKnowsC(t *testing.T) {
	if text := sources(t, "*.go"); strings.Contains(text, `import "`+`C"`) || strings.Contains(text, `"`+`unsafe"`) {
		t.Error("package ovl imports C or unsafe")
	}
}
