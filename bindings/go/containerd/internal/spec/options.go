package spec

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// parameters is where the kernel tells what an overlay is without an option.
var parameters = "/sys/module/overlay/parameters"

// defaults are options that say no more than the kernel does by itself while the parameter says N.
var defaults = map[string]string{
	"metacopy=off":   "metacopy",
	"xino=off":       "xino_auto",
	"nfs_export=off": "nfs_export",
}

// Portable leaves out of an overlay's options what it is without them. BuildKit takes a mount apart by a
// list of the options that it knows, and refuses the snapshot at any other.
func Portable(options []string) []string {
	hasUpper := slices.ContainsFunc(options, func(option string) bool { return strings.HasPrefix(option, "upperdir=") })
	return slices.DeleteFunc(options, func(option string) bool {
		if option == "ro" {
			return !hasUpper // nothing to write to
		}
		parameter := defaults[option]
		return parameter != "" && off(parameter)
	})
}

// off is false where the kernel does not say: then the option is.
func off(parameter string) bool {
	text, err := os.ReadFile(filepath.Join(parameters, parameter))
	return err == nil && strings.TrimSpace(string(text)) == "N"
}
