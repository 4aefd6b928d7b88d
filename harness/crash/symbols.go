package crash

import (
	"bufio"
	"debug/elf"
	"fmt"
	"io"
	"path"
	"strings"
)

// Symbols says which functions a kernel build has, and in which module. The zero
// value knows none.
type Symbols struct {
	modules map[string]map[string]bool // function names by module; "" for the kernel proper
}

// In reports whether the module, by its name, has the function and the kernel
// proper has none of that name. A module that was built in has none of its own:
// then read its object files with ReadModule under its name.
func (s *Symbols) In(module, function string) bool {
	if s == nil {
		return false
	}
	for name, functions := range s.modules {
		if name != "" && sameModule(name, module) && functions[function] {
			return true
		}
	}
	return false
}

// Kernel reports whether the kernel proper has the function.
func (s *Symbols) Kernel(function string) bool { return s != nil && s.modules[""][function] }

func (s *Symbols) add(module, function string) {
	if s.modules == nil {
		s.modules = make(map[string]map[string]bool)
	}
	if s.modules[module] == nil {
		s.modules[module] = make(map[string]bool)
	}
	s.modules[module][plainName(function)] = true
}

// isText has the types of symbols that are functions (nm(1)).
var isText = set(`t T w W`)

// ReadSystemMap adds the functions of a System.map, or of /proc/kallsyms, whose
// lines of modules end in "[module]". Both are "address type name" (nm(1)).
func (s *Symbols) ReadSystemMap(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 || !isText[fields[1]] {
			continue
		}
		module := ""
		if len(fields) > 3 {
			module = strings.Trim(fields[3], "[]")
		}
		s.add(module, fields[2])
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read a System.map: %w", err)
	}
	return nil
}

// ReadModule adds the functions of a kernel module, from the symbols of its ELF
// file, uncompressed. The module's name is the file's without ".ko".
func (s *Symbols) ReadModule(file string, r io.ReaderAt) error {
	name := strings.TrimSuffix(path.Base(file), ".ko")
	f, err := elf.NewFile(r)
	if err != nil {
		return fmt.Errorf("read the symbols of module %s: %w", name, err)
	}
	symbols, err := f.Symbols()
	if err != nil {
		return fmt.Errorf("read the symbols of module %s: %w", name, err)
	}
	for _, sym := range symbols {
		if elf.ST_TYPE(sym.Info) == elf.STT_FUNC && sym.Section != elf.SHN_UNDEF {
			s.add(name, sym.Name)
		}
	}
	return nil
}
