// Package symbol says in which line of which file the functions of a crash
// record were, and what was compiled into them, from the debug information of
// the kernel and its modules.
//
// A frame says its function and the offset in it, so that it does not matter
// where the kernel was loaded (KASLR): the function's address is looked up in
// the symbol table, and addresses in the record are not needed.
//
// A module is not linked: all its sections begin at address 0. Only functions in
// .text are resolved there, not those of init and exit.
package symbol

import (
	"debug/dwarf"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/kernel-playground/kplay/harness/crash"
)

// A Binary is a vmlinux or a module with debug information.
type Binary struct {
	Module    string // name of the module; empty for the kernel proper
	file      *elf.File
	data      *dwarf.Data
	functions map[string][]elf.Symbol
	units     []unit
}

// A unit is one compiled file and the addresses its code is at.
type unit struct {
	entry  *dwarf.Entry
	ranges [][2]uint64
}

// Open reads the symbols and finds the units of an ELF file. Name is the file's:
// "vmlinux-6.1.0" or "overlay.ko.debug". The caller closes Binary, and with it r
// if it is an io.Closer.
func Open(name string, r io.ReaderAt) (*Binary, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("read debug information of %s: %w", name, err)
	}
	b := &Binary{Module: moduleName(name), file: f, functions: make(map[string][]elf.Symbol)}
	symbols, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("read debug information of %s: %w", name, err)
	}
	for _, s := range symbols {
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC && resolvable(f, s) {
			b.functions[s.Name] = append(b.functions[s.Name], s)
		}
	}
	if b.data, err = f.DWARF(); err != nil {
		return nil, fmt.Errorf("read debug information of %s: %w", name, err)
	}
	if err := b.findUnits(); err != nil {
		return nil, fmt.Errorf("read debug information of %s: %w", name, err)
	}
	if len(b.units) == 0 {
		return nil, fmt.Errorf("read debug information of %s: %w", name, ErrStripped)
	}
	return b, nil
}

// resolvable reports whether the symbol's address stands for it alone.
func resolvable(f *elf.File, s elf.Symbol) bool {
	if s.Section == elf.SHN_UNDEF || int(s.Section) >= len(f.Sections) {
		return false
	}
	return f.Type != elf.ET_REL || f.Sections[s.Section].Name == ".text"
}

// ErrStripped is returned for a file that has none.
var ErrStripped = errors.New("it has none")

// moduleName is "overlay" for "overlay.ko" and "overlay.ko.debug", and empty for
// other files.
func moduleName(file string) string {
	name, _, ok := strings.Cut(path.Base(file), ".ko")
	if !ok {
		return ""
	}
	return strings.ReplaceAll(name, "-", "_")
}

func (b *Binary) findUnits() error {
	r := b.data.Reader()
	for {
		e, err := r.Next()
		if err != nil {
			return err
		}
		if e == nil {
			return nil
		}
		if e.Tag == dwarf.TagCompileUnit {
			ranges, err := b.data.Ranges(e)
			if err != nil {
				return err
			}
			b.units = append(b.units, unit{e, ranges})
		}
		r.SkipChildren()
	}
}

// Frames are the frames with their lines, and before each one those of the
// functions compiled into it, marked Inline. A frame that is not this binary's,
// or that it does not know, is left as it is.
func (b *Binary) Frames(frames []crash.Frame) []crash.Frame {
	var all []crash.Frame
	for i, f := range frames {
		// A return address is after its call, which may be the last instruction
		// of a line; the address of a fault is not.
		back := uint64(1)
		if i == 0 {
			back = 0
		}
		if f.Inline || strings.ReplaceAll(f.Module, "-", "_") != b.Module {
			all = append(all, f)
			continue
		}
		all = append(all, b.frame(f, back)...)
	}
	return all
}

// frame resolves one frame; of functions with one name, the one of the size.
func (b *Binary) frame(f crash.Frame, back uint64) []crash.Frame {
	for _, s := range b.functions[f.Func] {
		if f.Size != 0 && s.Size != 0 && (s.Size > f.Size || f.Size-s.Size > alignment) {
			continue
		}
		if f.Off < back {
			back = 0
		}
		if found := b.at(f, s.Value+f.Off-back); found != nil {
			return found
		}
	}
	return []crash.Frame{f}
}

// alignment is how much more than its size the kernel may print for a function:
// up to the next symbol, to which it is padded.
const alignment = 64

// at finds the line and the functions compiled in at an address.
func (b *Binary) at(f crash.Frame, pc uint64) []crash.Frame {
	for _, u := range b.units {
		if !covers(u.ranges, pc) {
			continue
		}
		line, ok := b.line(u.entry, pc)
		if !ok {
			continue
		}
		calls := b.inlined(u.entry, f, pc)
		if calls == nil {
			continue
		}
		return b.stack(f, line, calls)
	}
	return nil
}

// A call is a function at an address: the outer one first, then those compiled
// into it.
type call struct {
	name string
	file string // where it is called from; empty for the outer one
}

// stack makes the frames: the innermost stands at the line, each other where it
// calls the next.
func (b *Binary) stack(f crash.Frame, line string, calls []call) []crash.Frame {
	var frames []crash.Frame
	for i := len(calls) - 1; i > 0; i-- {
		inner := crash.Frame{Func: calls[i].name, Module: f.Module, Stack: f.Stack, Reliable: f.Reliable, Inline: true, File: line}
		frames = append(frames, inner)
		line = calls[i].file
	}
	f.File = line
	return append(frames, f)
}

func covers(ranges [][2]uint64, pc uint64) bool {
	for _, r := range ranges {
		if r[0] <= pc && pc < r[1] {
			return true
		}
	}
	return false
}

// line is "fs/namei.c:123" for an address.
func (b *Binary) line(cu *dwarf.Entry, pc uint64) (string, bool) {
	lines, err := b.data.LineReader(cu)
	if err != nil || lines == nil {
		return "", false
	}
	var e dwarf.LineEntry
	if err := lines.SeekPC(pc, &e); err != nil || e.File == nil {
		return "", false
	}
	return place(e.File.Name, int64(e.Line)), true
}

// place is the file by its path in the kernel tree.
func place(file string, line int64) string {
	file = path.Clean(file)
	for _, top := range []string{"/arch/", "/block/", "/crypto/", "/drivers/", "/fs/", "/include/", "/init/", "/io_uring/", "/ipc/", "/kernel/", "/lib/", "/mm/", "/net/", "/security/", "/sound/", "/virt/"} {
		if i := strings.Index(file, top); i >= 0 && strings.HasPrefix(file, "/") {
			file = file[i+1:]
			break
		}
	}
	return fmt.Sprintf("%s:%d", strings.TrimPrefix(file, "./"), line)
}

// inlined finds the function of the name that holds the address, and what is
// compiled in there; nil if the unit has none.
func (b *Binary) inlined(cu *dwarf.Entry, f crash.Frame, pc uint64) []call {
	files := b.files(cu)
	r := b.data.Reader()
	r.Seek(cu.Offset)
	if _, err := r.Next(); err != nil {
		return nil
	}
	var calls []call
	for depth := 0; ; {
		e, err := r.Next()
		if err != nil || e == nil || e.Tag == dwarf.TagCompileUnit {
			return calls
		}
		if e.Tag == 0 {
			if depth--; depth <= 0 && calls != nil {
				return calls
			}
			continue
		}
		if b.descends(e, f, pc, calls) {
			calls = append(calls, call{b.nameOf(e), callSite(e, files)})
			if e.Children {
				depth++
			}
			continue
		}
		if e.Children && (e.Tag != dwarf.TagLexDwarfBlock || calls == nil) {
			r.SkipChildren()
		} else if e.Children {
			depth++
		}
	}
}

// descends reports whether the entry is the function looked for, or one compiled
// into it, and holds the address.
func (b *Binary) descends(e *dwarf.Entry, f crash.Frame, pc uint64, calls []call) bool {
	switch {
	case e.Tag == dwarf.TagSubprogram && calls == nil:
		if name := b.nameOf(e); name != f.Func && name != f.Name() {
			return false
		}
	case e.Tag == dwarf.TagInlinedSubroutine && calls != nil:
	default:
		return false
	}
	ranges, err := b.data.Ranges(e)
	return err == nil && covers(ranges, pc)
}

// nameOf is the function's name, by what it was made from if need be.
func (b *Binary) nameOf(e *dwarf.Entry) string {
	for range 4 {
		if name, ok := e.Val(dwarf.AttrName).(string); ok {
			return name
		}
		origin, ok := e.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset)
		if !ok {
			if origin, ok = e.Val(dwarf.AttrSpecification).(dwarf.Offset); !ok {
				return ""
			}
		}
		r := b.data.Reader()
		r.Seek(origin)
		next, err := r.Next()
		if err != nil || next == nil {
			return ""
		}
		e = next
	}
	return ""
}

func (b *Binary) files(cu *dwarf.Entry) []*dwarf.LineFile {
	lines, err := b.data.LineReader(cu)
	if err != nil || lines == nil {
		return nil
	}
	return lines.Files()
}

// callSite is where a function that was compiled in is called.
func callSite(e *dwarf.Entry, files []*dwarf.LineFile) string {
	file, ok := e.Val(dwarf.AttrCallFile).(int64)
	line, _ := e.Val(dwarf.AttrCallLine).(int64)
	if !ok || file < 0 || int(file) >= len(files) || files[file] == nil {
		return ""
	}
	return place(files[file].Name, line)
}

// Close gives the file up.
func (b *Binary) Close() error { return b.file.Close() }
