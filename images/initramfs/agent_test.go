package initramfs

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"
)

// alive compiles a program that prints "alive", with debug information, and
// gives the path of it.
func alive(t *testing.T) string {
	t.Helper()
	source := write(t, "main.go", "package main\n\nfunc main() { println(\"alive\") }\n", 0o644)
	exe := filepath.Join(t.TempDir(), "alive")
	cmd := exec.Command("go", "build", "-o", exe, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	assert.NilError(t, err, string(out))
	return exe
}

func TestAgentIsCutAndStillRuns(t *testing.T) {
	exe := alive(t)
	cut := content(t, records(t, assemble(t, Spec{Agent: exe}))["/init"])
	info, err := os.Stat(exe)
	assert.NilError(t, err)
	assert.Assert(t, int64(len(cut)) < info.Size()*3/4, "%d bytes of %d are left", len(cut), info.Size())
	out, err := exec.Command(write(t, "cut", cut, 0o755)).CombinedOutput()
	assert.NilError(t, err)
	assert.Equal(t, string(out), "alive\n")
}

func TestAgentOfAnotherMachineIsRefused(t *testing.T) {
	arm := fakeELF(elf.PT_LOAD, []byte("code"))
	binary.LittleEndian.PutUint16(arm[offMachine:], uint16(elf.EM_AARCH64))
	_, err := Assemble(t.Context(), Spec{Agent: write(t, "arm", string(arm), 0o755)})
	assert.ErrorContains(t, err, "is built for EM_AARCH64, the guest is an x86_64")
}

func TestDynamicAgentBringsItsLibraries(t *testing.T) {
	const host = "/bin/sh"
	f, err := os.Open(host)
	assert.NilError(t, err)
	defer f.Close()
	exe, err := readAgent(f)
	if err != nil || !exe.dynamic {
		t.Skipf("%s is not linked dynamically", host)
	}
	all := records(t, assemble(t, Spec{Agent: host}))
	e, err := elf.NewFile(f)
	assert.NilError(t, err)
	interp, err := io.ReadAll(e.Section(".interp").Open())
	assert.NilError(t, err)
	loader, ok := all[string(bytes.TrimRight(interp, "\x00"))]
	assert.Assert(t, ok, "the loader %s", interp)
	assert.Equal(t, loader.Mode&0o111, uint64(0o111))
	needed, err := e.ImportedLibraries()
	assert.NilError(t, err)
	for _, lib := range needed {
		assert.Assert(t, hasBase(all, lib), lib)
	}
}

func hasBase[V any](paths map[string]V, base string) bool {
	for p := range paths {
		if filepath.Base(p) == base {
			return true
		}
	}
	return false
}

// offMachine is where an ELF header has the machine, 2 bytes.
const offMachine = 18

// fakeELF is a 64-bit ELF file for x86 with one segment of the given type.
func fakeELF(kind elf.ProgType, segment []byte) []byte {
	const headers = elfHeaderSize + 56
	h := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Phoff: elfHeaderSize, Ehsize: elfHeaderSize, Phentsize: 56, Phnum: 1,
	}
	p := elf.Prog64{Type: uint32(kind), Off: headers, Filesz: uint64(len(segment)), Memsz: uint64(len(segment)), Align: 4}
	var file bytes.Buffer
	binary.Write(&file, binary.LittleEndian, h)
	binary.Write(&file, binary.LittleEndian, p)
	file.Write(segment)
	return file.Bytes()
}

func FuzzReadAgent(f *testing.F) {
	f.Add(fakeELF(elf.PT_LOAD, []byte("code")))
	f.Add(fakeELF(elf.PT_INTERP, []byte("/lib/ld.so\x00")))
	f.Fuzz(func(t *testing.T, file []byte) {
		a, err := readAgent(bytes.NewReader(file))
		if err != nil {
			return
		}
		cut, err := io.ReadAll(io.NewSectionReader(a, 0, a.size))
		assert.NilError(t, err)
		assert.Assert(t, len(cut) <= len(file))
	})
}
