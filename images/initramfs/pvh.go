package initramfs

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
)

// The note by which a kernel says where it is to be entered in 32-bit mode:
// XEN_ELFNOTE_PHYS32_ENTRY of xen/interface/elfnote.h. QEMU starts an ELF kernel
// that has it, and no other.
const (
	pvhNoteOwner = "Xen\x00"
	pvhNoteType  = 18
)

// notesMax bounds the notes looked at, in bytes. Kernels have less than 2 KB.
const notesMax = 1 << 20

// hasPVHEntry reports whether f is a 64-bit ELF file for x86 with a PVH entry point.
func hasPVHEntry(f io.ReaderAt) bool {
	e, err := elf.NewFile(f)
	if err != nil || e.Machine != elf.EM_X86_64 || e.Class != elf.ELFCLASS64 {
		return false
	}
	for _, p := range e.Progs {
		if p.Type != elf.PT_NOTE || p.Filesz > notesMax {
			continue
		}
		notes, err := io.ReadAll(p.Open())
		if err == nil && findNote(notes, pvhNoteOwner, pvhNoteType) {
			return true
		}
	}
	return false
}

// findNote looks for a note in a segment of them: owner's length, content's
// length, type, then owner and content, each padded to four bytes; see elf(5).
func findNote(notes []byte, owner string, kind uint32) bool {
	const head = 12
	for len(notes) >= head {
		ownerLen := uint64(binary.LittleEndian.Uint32(notes))
		contentLen := uint64(binary.LittleEndian.Uint32(notes[4:]))
		if binary.LittleEndian.Uint32(notes[8:]) == kind && bytes.HasPrefix(notes[head:], []byte(owner)) &&
			ownerLen == uint64(len(owner)) {
			return true
		}
		next := head + (ownerLen+3)&^3 + (contentLen+3)&^3
		if next > uint64(len(notes)) {
			return false
		}
		notes = notes[next:]
	}
	return false
}
