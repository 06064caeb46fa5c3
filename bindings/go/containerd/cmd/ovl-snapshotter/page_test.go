package main

import (
	"errors"
	"flag"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// found is each first group of a pattern in a text, sorted.
func found(pattern, text string) (all []string) {
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, match[1])
	}
	slices.Sort(all)
	return all
}

// The manual page has the flags and the settings that there are, and no others.
func TestPage(t *testing.T) {
	text, err := os.ReadFile("../../packaging/ovl-snapshotter.8")
	ok(t, err)
	page := string(text)
	var help strings.Builder
	if _, err := configure([]string{"-h"}, &help); !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	synopsis, _, _ := strings.Cut(page, ".Sh DESCRIPTION")
	flags := found(`(?m)^  -([a-z-]+)`, help.String())
	if got := found(`Fl Fl ([a-z-]+)`, synopsis); len(flags) < 8 || !slices.Equal(got, flags) {
		t.Errorf("the page has the flags %q, the program %q", got, flags)
	}
	var settings []string
	for field := range reflect.TypeFor[config]().Fields() {
		settings = append(settings, field.Tag.Get("toml"))
	}
	slices.Sort(settings)
	if got := found(`(?m)^\.It Ic (.*)$`, page); !slices.Equal(got, settings) {
		t.Errorf("the page has the settings %q, the program %q", got, settings)
	}
	for name := range levels {
		if !strings.Contains(page, ".Ql "+name) {
			t.Errorf("the page lacks the level %s", name)
		}
	}
	for name := range durabilities {
		if !strings.Contains(page, ".Ql "+name) {
			t.Errorf("the page lacks the durability %s", name)
		}
	}
}
