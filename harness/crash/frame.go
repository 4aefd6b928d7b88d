package crash

import (
	"strconv"
	"strings"
)

// A Frame is one line of a call trace.
type Frame struct {
	Func     string `json:"function"`         // as the kernel names it: "ovl_rename.cold", "vfs_read.isra.0"
	Off      uint64 `json:"offset"`           // of the return address in Func, bytes
	Size     uint64 `json:"size"`             // of Func, bytes
	Module   string `json:"module,omitempty"` // empty for the kernel proper
	Stack    string `json:"stack,omitempty"`  // "IRQ", "NMI" and so on; empty for the task's own
	Reliable bool   `json:"reliable"`         // false if the unwinder put a "?" before it
	Inline   bool   `json:"inline,omitempty"` // compiled into the next frame; only a symboliser tells
	File     string `json:"file,omitempty"`   // "fs/namei.c:123", if a symboliser has been at work
}

// Name is Func by the name in the source: the compiler puts parts and variants
// of a function under names of their own, "f.cold", "f.isra.0".
func (f Frame) Name() string { return plainName(f.Func) }

func plainName(name string) string {
	if i := strings.IndexByte(name, '.'); i > 0 {
		return name[:i]
	}
	return name
}

// symbol reads a code address as the kernel prints it, %pS: "ovl_rename+0x1c/0x900
// [overlay]", with or without "FILE:LINE" and "[inline]" of a symboliser. The
// module may carry taint letters or a build ID.
func symbol(s string) (f Frame, rest string, ok bool) {
	n := nameLen(s)
	if n == 0 {
		return f, s, false
	}
	f.Func = s[:n]
	s = s[n:]
	if !strings.HasPrefix(s, "+0x") {
		return f.symbolised(s)
	}
	if f.Off, s, ok = hexNumber(s[len("+0x"):]); !ok {
		return f, s, false
	}
	if f.Size, s, ok = hexNumber(strings.TrimPrefix(s, "/0x")); !ok {
		f.Size, s = 0, strings.TrimPrefix(s, "/")
	}
	if module, rest, ok := moduleOf(s); ok {
		f.Module, s = module, rest
	}
	return f.place(s), s, true
}

// symbolised reads the rest of " f fs/a.c:12 [inline]", a line without an offset.
func (f Frame) symbolised(s string) (Frame, string, bool) {
	f = f.place(s)
	return f, s, f.File != "" && f.Inline
}

// place reads " fs/a.c:12" and " [inline]".
func (f Frame) place(s string) Frame {
	file := strings.TrimPrefix(s, " ")
	if len(file) == len(s) || file == "" {
		return f
	}
	tail := ""
	if i := strings.IndexByte(file, ' '); i >= 0 {
		file, tail = file[:i], file[i+1:]
	}
	path, line, ok := strings.Cut(file, ":")
	if !ok || strings.IndexByte(path, '.') < 0 || !all(line[:span(line, digits)], digits) {
		return f
	}
	f.File = strings.TrimPrefix(file, "./")
	f.Inline = strings.HasPrefix(tail, "[inline]")
	return f
}

// nameLen is the length of a function's name at the beginning of s.
func nameLen(s string) int {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '.' && c != '$') {
			return i
		}
	}
	return len(s)
}

// hexNumber reads up to 16 digits.
func hexNumber(s string) (uint64, string, bool) {
	n := span(s, "0123456789abcdef")
	if n == 0 || n > 16 {
		return 0, s, false
	}
	v, err := strconv.ParseUint(s[:n], 16, 64)
	return v, s[n:], err == nil
}

// moduleOf reads " [overlay]", " [overlay(OE)]" and " [overlay 0123abcd]".
func moduleOf(s string) (module, rest string, ok bool) {
	if !strings.HasPrefix(s, " [") {
		return "", s, false
	}
	end := strings.IndexByte(s, ']')
	if end < 0 {
		return "", s, false
	}
	inner := s[2:end]
	n := 0
	for n < len(inner) && (isWord(inner[n]) || inner[n] == '-') {
		n++
	}
	return inner[:n], s[end+1:], n > 0 && inner != "inline"
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// frameLine reads a line of a call trace. Before 4.9 every frame had its
// address: " [<ffffffff81234567>] ".
func frameLine(msg string) (Frame, bool) {
	s := strings.TrimLeft(msg, " \t")
	for strings.HasPrefix(s, "[<") {
		end := strings.Index(s, ">]")
		if end < 0 || end > 24 {
			return Frame{}, false
		}
		inline := strings.Contains(s[:end], "inline")
		s = strings.TrimLeft(s[end+2:], " ")
		if inline { // "[<     inline     >] f fs/a.c:12", of older symbolisers
			n := nameLen(s)
			f := Frame{Func: s[:n], Reliable: true}.place(s[n:])
			f.Inline = true
			return f, n > 0
		}
	}
	if strings.HasPrefix(s, "([<") { // s390
		if end := strings.Index(s, ">]"); end > 0 {
			s = strings.TrimLeft(s[end+2:], " ")
		}
	}
	reliable := true
	if after, ok := strings.CutPrefix(s, "? "); ok {
		s, reliable = strings.TrimLeft(after, " "), false
	}
	f, rest, ok := symbol(s)
	if !ok {
		return armFrame(s)
	}
	f.Reliable = reliable
	return f, endsFrame(rest)
}

// armFrame reads a line of 32-bit ARM: "f from g+0x1c/0x30", and before 5.18
// "(f) from [<80123456>] (g+0x1c/0x30)" (arch/arm/kernel/traps.c).
func armFrame(s string) (Frame, bool) {
	name, caller, ok := strings.Cut(s, " from ")
	if !ok {
		return Frame{}, false
	}
	if _, after, ok := strings.Cut(caller, ">] ("); ok {
		caller = after
	}
	name = strings.Trim(name, "()")
	n := nameLen(name)
	if _, _, called := symbol(caller); !called || n == 0 || n < len(name) && name[n] != '+' {
		return Frame{}, false
	}
	return Frame{Func: name[:n], Reliable: true}, true
}

// endsFrame tells a frame from a sentence that begins with an address.
func endsFrame(rest string) bool {
	rest = strings.TrimSpace(rest)
	return rest == "" || len(rest) < 200 && (rest[0] == '(' || strings.IndexByte(rest, ':') > 0 || rest[0] == '[')
}

// locators begin the lines that say where the CPU was: x86 of all ages, arm64,
// arm, riscv, powerpc.
var locators = []string{"RIP: ", "RIP  ", "EIP: ", "EIP is at ", "IP: ", "pc : ", "PC is at ", "epc : ", "NIP "}

// locator reads such a line. It is false for one of user space, which has no
// symbol.
func locator(msg string) (Frame, bool) {
	s := ""
	for _, l := range locators {
		if strings.HasPrefix(msg, l) {
			s = strings.TrimLeft(msg[len(l):], " ")
			break
		}
	}
	if s == "" {
		return Frame{}, false
	}
	if n := span(s, "0123456789abcdef"); n == 4 && n < len(s) && s[n] == ':' {
		s = s[n+1:]
	}
	for strings.HasPrefix(s, "[<") || strings.HasPrefix(s, "[c") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return Frame{}, false
		}
		s = strings.TrimLeft(s[end+1:], " ")
	}
	f, _, ok := symbol(strings.TrimLeft(s, " "))
	f.Reliable = true
	return f, ok && f.Func != ""
}

// symbolIn finds the first symbol with an offset in a sentence.
func symbolIn(s string) (Frame, bool) {
	for from := 0; ; {
		i := strings.Index(s[from:], "+0x")
		if i < 0 {
			return Frame{}, false
		}
		from += i
		start := from
		for start > 0 && (isWord(s[start-1]) || s[start-1] == '.' || s[start-1] == '$') {
			start--
		}
		if f, _, ok := symbol(s[start:]); ok {
			f.Reliable = true
			return f, true
		}
		from += len("+0x")
	}
}
