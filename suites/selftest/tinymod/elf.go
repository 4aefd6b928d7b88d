package tinymod

import (
	"debug/elf"
	"encoding/binary"
)

// headerSize is that of an ELF file header, sectionSize that of an entry in the
// section header table, in bytes.
const (
	headerSize  = 64
	sectionSize = 64
)

// rela is the relocation section for the section numbered target.
func rela(target uint32, data []byte) section {
	return section{
		name:   ".rela",
		kind:   elf.SHT_RELA,
		flags:  elf.SHF_INFO_LINK,
		data:   data,
		link:   secSymbols,
		info:   target,
		entity: 24,
	}
}

func relocation(at int, kind elf.R_X86_64, symbol, addend int) []byte {
	return appendLE(nil, elf.Rela64{
		Off:    uint64(at),
		Info:   elf.R_INFO(uint32(symbol), uint32(kind)),
		Addend: int64(addend),
	})
}

// file64 lays out a relocatable file: header, section data, section headers.
// The names of the sections go into one more section, the last.
func file64(sections []section) []byte {
	names := []byte{}
	for _, s := range sections {
		names = append(names, s.name+"\x00"...)
	}
	names = append(names, ".shstrtab\x00"...)
	sections = append(sections, section{name: ".shstrtab", kind: elf.SHT_STRTAB, data: names})

	var data, headers []byte
	nameAt := uint32(0)
	for _, s := range sections {
		for len(data)%16 != 0 {
			data = append(data, 0)
		}
		headers = appendLE(headers, elf.Section64{
			Name:      nameAt,
			Type:      uint32(s.kind),
			Flags:     uint64(s.flags),
			Off:       uint64(headerSize + len(data)),
			Size:      uint64(len(s.data)),
			Link:      s.link,
			Info:      s.info,
			Addralign: alignment(s),
			Entsize:   s.entity,
		})
		data = append(data, s.data...)
		nameAt += uint32(len(s.name) + 1)
	}
	for len(data)%16 != 0 {
		data = append(data, 0)
	}
	file := appendLE(nil, header(len(sections), headerSize+len(data)))
	return append(append(file, data...), headers...)
}

func header(sections, tableAt int) elf.Header64 {
	h := elf.Header64{
		Type:      uint16(elf.ET_REL),
		Machine:   uint16(elf.EM_X86_64),
		Version:   uint32(elf.EV_CURRENT),
		Shoff:     uint64(tableAt),
		Ehsize:    headerSize,
		Shentsize: sectionSize,
		Shnum:     uint16(sections),
		Shstrndx:  uint16(sections - 1),
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
	h.Ident[elf.EI_DATA] = byte(elf.ELFDATA2LSB)
	h.Ident[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	return h
}

// alignment of struct module is that of a cache line.
func alignment(s section) uint64 {
	switch s.name {
	case "":
		return 0
	case ".gnu.linkonce.this_module":
		return 64
	}
	return 8
}

func appendLE(dst []byte, v any) []byte {
	dst, err := binary.Append(dst, binary.LittleEndian, v)
	if err != nil {
		panic(err) // a type without a fixed size, which none of ours is
	}
	return dst
}
