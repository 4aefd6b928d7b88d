package kernel

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// configMax bounds a decompressed configuration, in bytes. Distributions have
// 300 kB.
const configMax = 16 << 20

// Option is the value of a configuration option, with or without CONFIG_ in
// front: "y", "m", "n" also for one the configuration does not name, or the
// text of a number or string. It is "" if the configuration is unknown.
func (b *Build) Option(name string) string {
	text, err := b.configuration()
	if err != nil || text == "" {
		return ""
	}
	_, rest, found := strings.Cut("\n"+text, "\nCONFIG_"+strings.TrimPrefix(name, "CONFIG_")+"=")
	if !found {
		return "n"
	}
	value, _, _ := strings.Cut(rest, "\n")
	return strings.Trim(strings.TrimSpace(value), `"`)
}

// configuration is the text of the configuration; empty if there is none. It is
// read anew each time, in less than a millisecond: nothing asks often.
func (b *Build) configuration() (string, error) {
	if b.Config == "" {
		return "", nil
	}
	f, err := os.Open(b.Config)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var r io.Reader = f
	if filepath.Ext(b.Config) == ".gz" {
		if r, err = gzip.NewReader(f); err != nil {
			return "", err
		}
	}
	text, err := io.ReadAll(io.LimitReader(r, configMax))
	return string(text), err
}

// Builtin reports whether the module is part of the kernel image, by the list
// the kernel's build made (Documentation/kbuild/kbuild.rst, modules.builtin).
// Without the list the answer is no.
func (b *Build) Builtin(module string) bool { return b.builtins()[moduleName(module)] }

// builtins is the set of modules that are built in. modules.builtin has a path
// such as kernel/fs/ext4/ext4.ko on each line.
func (b *Build) builtins() map[string]bool {
	names := make(map[string]bool)
	dir := b.builtinDir()
	if dir == "" {
		return names
	}
	text, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return names
	}
	for line := range strings.Lines(string(text)) {
		names[moduleName(strings.TrimSpace(line))] = true
	}
	return names
}

// builtinDir is where the list of what is built in lies: with the modules, or
// at the top of a build tree.
func (b *Build) builtinDir() string {
	if b.Modules == "" && filepath.Base(b.Config) == ".config" {
		return filepath.Dir(b.Config)
	}
	return b.Modules
}
