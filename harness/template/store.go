// Package template keeps frozen machines on disk, each under a key that says
// everything that shaped it, so that a kernel that was booted once need not be
// booted again.
//
// A template is a directory with the guest's memory (ram), the state of its
// devices (state) and what else there is to know of it (template.json). It
// appears whole or not at all, is checked before it is used, and the ones unused
// for longest are removed when all together become too large.
package template

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/kernel-playground/kplay/harness/vm"
	"github.com/kernel-playground/kplay/images/flock"
)

// DefaultLimit bounds what all templates take on disk, in bytes; a template of a
// 512 MiB guest takes some 110 MB.
const DefaultLimit = 4 << 30

// A Store is a directory of templates.
type Store struct {
	Dir    string
	Limit  int64             // bytes on disk; 0 means DefaultLimit
	Notice func(line string) // is told of what a person wants to know; may be nil
}

// format is the version of a template's files.
const format = 1

// A label is the content of template.json.
type label struct {
	Format   int
	Title    string
	Made     time.Time
	RAMSum   uint32
	StateSum uint32
	Note     json.RawMessage
}

const (
	ramFile   = "ram"
	stateFile = "state"
	labelFile = "template.json"
	pending   = ".new-" // begins the name of a directory that is not a template yet
	leaving   = ".old-" // or no longer
)

func (s *Store) path(key string) string { return filepath.Join(s.Dir, key) }

func (s *Store) tell(format string, args ...any) {
	if s.Notice != nil {
		s.Notice(fmt.Sprintf(format, args...))
	}
}

// Lock keeps others from making the template of the key at the same time. It
// says so if it has to wait.
func (s *Store) Lock(ctx context.Context, key string) (unlock func(), err error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the directory for templates: %w", err)
	}
	file := s.path(key) + ".lock"
	if flock.Locked(file) {
		s.tell("another kplay boots this kernel: waiting for its template")
	}
	return flock.Lock(ctx, file)
}

// Open returns the template of the key, without the shape in its Spec, and reads
// its note. One that is damaged is removed. The caller closes Spec.RAM.
func (s *Store) Open(key string, note any) (*vm.Template, bool) {
	dir := s.path(key)
	t, err := read(dir, note)
	if err == nil {
		now := time.Now()
		// For List. One that cannot be touched is still good.
		_ = os.Chtimes(filepath.Join(dir, labelFile), now, now)
		return t, true
	}
	if !errors.Is(err, fs.ErrNotExist) {
		s.tell("a template is thrown away: %v", err)
		s.Remove(key)
	}
	return nil, false
}

func read(dir string, note any) (*vm.Template, error) {
	l, err := readLabel(dir)
	if err != nil {
		return nil, err
	}
	state, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, damaged{err}
	}
	if crc32.Checksum(state, castagnoli) != l.StateSum {
		return nil, errors.New("its state is damaged")
	}
	ram, err := os.Open(filepath.Join(dir, ramFile))
	if err != nil {
		return nil, damaged{err}
	}
	sum, err := ramSum(ram)
	if err == nil && sum != l.RAMSum {
		err = errors.New("its memory is damaged")
	}
	if err == nil {
		err = json.Unmarshal(l.Note, note)
	}
	if err != nil {
		ram.Close()
		return nil, err
	}
	return &vm.Template{Spec: vm.Spec{RAM: ram}, State: state}, nil
}

// damaged hides that an error is one of a file that is missing: where there is a
// label there must be the rest.
type damaged struct{ err error }

func (d damaged) Error() string { return d.err.Error() }

func readLabel(dir string) (l label, err error) {
	b, err := os.ReadFile(filepath.Join(dir, labelFile))
	if err != nil {
		return l, err
	}
	if err := json.Unmarshal(b, &l); err != nil {
		return l, fmt.Errorf("read its label: %w", err)
	}
	if l.Format != format {
		return l, fmt.Errorf("it is of format %d", l.Format)
	}
	return l, nil
}

// Sums are CRC-32C: they are to find damage, not malice, in 100 MB that are read
// at every start, and processors have an instruction for it.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ramSum is the checksum of what in a memory file is not zero, and where.
func ramSum(ram *os.File) (uint32, error) {
	h := crc32.New(castagnoli)
	err := vm.EachRun(ram, func(off int64, pages []byte) error { addRun(h, off, pages); return nil })
	return h.Sum32(), err
}

func addRun(h hash.Hash32, off int64, pages []byte) {
	var at [8]byte
	binary.LittleEndian.PutUint64(at[:], uint64(off))
	h.Write(at[:])
	h.Write(pages) // a hash never fails
}

// Save keeps a template under the key. title is one line for List, note what
// Open is to return. The RAM must not change meanwhile.
func (s *Store) Save(key, title string, t *vm.Template, note any) error {
	err := s.save(key, title, t, note)
	if err != nil {
		return fmt.Errorf("keep a template in %s: %w", s.Dir, err)
	}
	limit := s.Limit
	if limit == 0 {
		limit = DefaultLimit
	}
	_, err = s.prune(limit, key)
	return err
}

func (s *Store) save(key, title string, t *vm.Template, note any) error {
	text, err := json.Marshal(note)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return err
	}
	s.sweep()
	tmp, err := os.MkdirTemp(s.Dir, pending)
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp) // not there any more if all went well
	l := label{Format: format, Title: title, Made: time.Now(), StateSum: crc32.Checksum(t.State, castagnoli), Note: text}
	if l.RAMSum, err = writeRAM(filepath.Join(tmp, ramFile), t.Spec.RAM); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, stateFile), t.State, 0o644); err != nil {
		return err
	}
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, labelFile), b, 0o644); err != nil {
		return err
	}
	// By the clock Open uses: that of the file system lags by some milliseconds.
	if err := os.Chtimes(filepath.Join(tmp, labelFile), l.Made, l.Made); err != nil {
		return err
	}
	s.Remove(key)
	return os.Rename(tmp, s.path(key))
}

// writeRAM copies the memory and sums it up. It is not synced to disk: what a
// power cut tears is found by its sum.
func writeRAM(path string, ram *os.File) (uint32, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_EXCL, 0o644)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	h := crc32.New(castagnoli)
	if err := vm.CopyRAM(f, ram, func(off int64, pages []byte) { addRun(h, off, pages) }); err != nil {
		return 0, err
	}
	return h.Sum32(), f.Close()
}

// Remove removes the template of the key. Machines cloned from it go on.
func (s *Store) Remove(key string) {
	gone, err := os.MkdirTemp(s.Dir, leaving)
	if err != nil {
		return
	}
	os.Rename(s.path(key), filepath.Join(gone, "x")) // at once, so that nobody sees a part of it
	os.RemoveAll(gone)
}

// sweep removes what processes that were killed have left half-way.
func (s *Store) sweep() {
	for _, prefix := range []string{pending, leaving} {
		left, _ := filepath.Glob(filepath.Join(s.Dir, prefix+"*"))
		for _, dir := range left {
			if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > time.Hour {
				os.RemoveAll(dir)
			}
		}
	}
}

// Dir is where templates are kept below the directory for what can be made
// again.
func Dir(cache string) string { return filepath.Join(cache, "templates") }
