package kernel

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"strings"
)

// A modinfo is what a module says of itself in its .modinfo section, the
// NUL-terminated "key=value" strings modinfo(8) shows.
type modinfo struct {
	name     string
	vermagic string   // "6.1.0-56-amd64 SMP preempt mod_unload modversions "
	depends  []string // modules whose symbols it uses
	pre      []string // modules, or their aliases, that are better loaded before it
	aliases  []string
}

var errNotModule = errors.New("it is not an x86_64 kernel module")

// readModinfo reads the section out of a decompressed module. A section that is
// compressed within the ELF file, which the kernel does not know, is refused: it
// could claim any size.
func readModinfo(data []byte) (modinfo, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return modinfo{}, fmt.Errorf("%w: %w", errNotModule, err)
	}
	s := f.Section(".modinfo")
	if f.Class != elf.ELFCLASS64 || f.Machine != elf.EM_X86_64 || f.Type != elf.ET_REL || s == nil || s.Flags&elf.SHF_COMPRESSED != 0 {
		return modinfo{}, errNotModule
	}
	text, err := s.Data()
	if err != nil {
		return modinfo{}, fmt.Errorf("%w: %w", errNotModule, err)
	}
	return parseModinfo(string(text)), nil
}

// parseModinfo reads the strings of the section. depends has no spaces and
// may be empty; softdep may come more than once.
func parseModinfo(text string) modinfo {
	var m modinfo
	for entry := range strings.SplitSeq(text, "\x00") {
		key, value, _ := strings.Cut(entry, "=")
		switch key {
		case "name":
			m.name = value
		case "vermagic":
			m.vermagic = value
		case "alias":
			m.aliases = append(m.aliases, value)
		case "depends":
			m.depends = append(m.depends, moduleNames(strings.Split(value, ","))...)
		case "softdep":
			m.pre = append(m.pre, softPre(value)...)
		}
	}
	return m
}

// softPre is the "pre:" part of a softdep, as modprobe.d(5) has it: "pre: a b
// post: c".
func softPre(value string) []string {
	var pre []string
	in := false
	for _, word := range strings.Fields(value) {
		if strings.HasSuffix(word, ":") {
			in = word == "pre:"
		} else if in {
			pre = append(pre, word)
		}
	}
	return pre
}

// moduleNames folds the names and drops the empty one that a module without
// dependencies has.
func moduleNames(names []string) []string {
	var out []string
	for _, name := range names {
		if name != "" {
			out = append(out, moduleName(name))
		}
	}
	return out
}
