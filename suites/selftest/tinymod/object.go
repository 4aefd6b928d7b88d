package tinymod

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
)

// Sections of the object, by index. A relocation section follows the section it
// is for.
const (
	secNull = iota
	secCode
	secCodeRela
	secBugs
	secBugsRela
	secModule
	secModuleRela
	secInfo
	secFile
	secSymbols
	secStrings
)

// Symbols of the object, by index; the functions it calls come after.
const (
	symNull = iota
	symInit
	symFile
	symFirstCall
)

// sourceFile is what the kernel names as the source of a Trap.
const sourceFile = "tinymod.s\x00"

// info is the module's description. With an empty version magic the kernel
// compares none.
const info = "license=GPL\x00retpoline=Y\x00name=%s\x00"

// Flags of struct bug_entry: a warning, which taints with W, bit 9
// (BUGFLAG_WARNING, BUGFLAG_TAINT).
const warning = 1<<0 | 9<<8

// prologue begins every function: endbr64, which a function called through a
// pointer needs where the processor checks, and push %rbp; mov %rsp,%rbp, from
// which the kernel can tell who called code that has no unwind tables.
var prologue = []byte{0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x48, 0x89, 0xe5}

// A section is what the section header table says of one, and its bytes.
type section struct {
	name   string
	kind   elf.SectionType
	flags  elf.SectionFlag
	data   []byte
	link   uint32
	info   uint32
	entity uint64 // size of an entry in a table
}

// object is the module as a relocatable ELF file.
func (m Module) object(module, bug layout) ([]byte, error) {
	this, err := m.thisModule(module)
	if err != nil {
		return nil, err
	}
	bugs, bugsRela, err := m.bugTable(bug)
	if err != nil {
		return nil, err
	}
	symbols, strs := m.symbols()
	const alloc, write = elf.SHF_ALLOC, elf.SHF_ALLOC | elf.SHF_WRITE
	return file64([]section{
		secNull:       {},
		secCode:       {name: ".init.text", kind: elf.SHT_PROGBITS, flags: alloc | elf.SHF_EXECINSTR, data: m.code()},
		secCodeRela:   rela(secCode, m.callRela()),
		secBugs:       {name: "__bug_table", kind: elf.SHT_PROGBITS, flags: write, data: bugs},
		secBugsRela:   rela(secBugs, bugsRela),
		secModule:     {name: ".gnu.linkonce.this_module", kind: elf.SHT_PROGBITS, flags: write, data: this},
		secModuleRela: rela(secModule, relocation(module.members["init"], elf.R_X86_64_64, symInit, 0)),
		secInfo:       {name: ".modinfo", kind: elf.SHT_PROGBITS, flags: alloc, data: fmt.Appendf(nil, info, m.Name)},
		secFile:       {name: ".rodata", kind: elf.SHT_PROGBITS, flags: alloc, data: []byte(sourceFile)},
		secSymbols:    {name: ".symtab", kind: elf.SHT_SYMTAB, data: symbols, link: secStrings, info: symInit, entity: elf.Sym64Size},
		secStrings:    {name: ".strtab", kind: elf.SHT_STRTAB, data: strs},
	}), nil
}

func (m Module) code() []byte { return append(bytes.Clone(prologue), m.Code...) }

func (m Module) callRela() (r []byte) {
	for i, c := range m.Calls {
		// The distance counts from the end of the operand.
		r = append(r, relocation(len(prologue)+c.At, elf.R_X86_64_PLT32, symFirstCall+i, -4)...)
	}
	return r
}

// thisModule is the structure the kernel takes as the module's own; the loader
// fills in all but the name and the relocated init function.
func (m Module) thisModule(l layout) ([]byte, error) {
	name, ok1 := l.members["name"]
	init, ok2 := l.members["init"]
	if !ok1 || !ok2 || name+len(m.Name) >= l.size || init+8 > l.size {
		return nil, fmt.Errorf("struct module has no name or no init")
	}
	data := make([]byte, l.size)
	copy(data[name:], m.Name)
	return data, nil
}

// bugTable is one struct bug_entry for each trap, and the relocations of its
// two distances.
func (m Module) bugTable(l layout) (table, relocations []byte, err error) {
	for _, field := range []string{"bug_addr_disp", "file_disp", "line", "flags"} {
		if at, ok := l.members[field]; !ok || at+2 > l.size {
			return nil, nil, fmt.Errorf("struct bug_entry has no %s", field)
		}
	}
	for i, t := range m.Traps {
		entry := make([]byte, l.size)
		binary.LittleEndian.PutUint16(entry[l.members["line"]:], t.Line)
		if t.Warn {
			binary.LittleEndian.PutUint16(entry[l.members["flags"]:], warning)
		}
		table = append(table, entry...)
		at := i * l.size
		addr, name := at+l.members["bug_addr_disp"], at+l.members["file_disp"]
		relocations = append(relocations, relocation(addr, elf.R_X86_64_PC32, symInit, len(prologue)+t.At)...)
		relocations = append(relocations, relocation(name, elf.R_X86_64_PC32, symFile, 0)...)
	}
	return table, relocations, nil
}

func (m Module) symbols() (table, strs []byte) {
	strs = []byte{0}
	add := func(name string, kind elf.SymType, sec elf.SectionIndex, size int) {
		table = appendLE(table, elf.Sym64{
			Name:  uint32(len(strs)),
			Info:  elf.ST_INFO(elf.STB_GLOBAL, kind),
			Shndx: uint16(sec),
			Size:  uint64(size),
		})
		strs = append(strs, name+"\x00"...)
	}
	table = make([]byte, elf.Sym64Size)
	add("init_module", elf.STT_FUNC, secCode, len(m.code()))
	add("source_file", elf.STT_OBJECT, secFile, len(sourceFile))
	for _, c := range m.Calls {
		add(c.Function, elf.STT_NOTYPE, elf.SHN_UNDEF, 0)
	}
	return table, strs
}
