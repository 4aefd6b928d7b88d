package template

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An Info is what there is to say of a template without opening it.
type Info struct {
	Key   string
	Title string
	Bytes int64 // on disk
	Made  time.Time
	Used  time.Time // last opened, or made
}

// List returns all templates, the one used last first.
func (s *Store) List() ([]Info, error) {
	entries, err := os.ReadDir(s.Dir)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Info
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		dir := s.path(e.Name())
		info := Info{Key: e.Name(), Title: "damaged", Bytes: size(dir)}
		if st, err := os.Stat(filepath.Join(dir, labelFile)); err == nil {
			info.Used = st.ModTime()
		}
		if l, err := readLabel(dir); err == nil {
			info.Title, info.Made = l.Title, l.Made
		}
		all = append(all, info)
	}
	slices.SortFunc(all, func(a, b Info) int { return cmp.Or(b.Used.Compare(a.Used), cmp.Compare(a.Key, b.Key)) })
	return all, nil
}

// size is what a directory's files take on disk, in bytes.
func size(dir string) (bytes int64) {
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, path := range files {
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil {
			bytes += st.Blocks * 512
		}
	}
	return bytes
}

// Prune removes templates, the one unused for longest first, until the rest
// takes no more than limit bytes. It returns what it removed.
func (s *Store) Prune(limit int64) ([]Info, error) { return s.prune(limit, "") }

// prune spares the template of one key.
func (s *Store) prune(limit int64, spare string) (gone []Info, err error) {
	all, err := s.List()
	if err != nil {
		return nil, err
	}
	var sum int64
	for _, t := range all {
		sum += t.Bytes
	}
	for _, t := range slices.Backward(all) {
		if sum <= limit {
			break
		}
		if t.Key == spare {
			continue
		}
		s.Remove(t.Key)
		sum -= t.Bytes
		gone = append(gone, t)
	}
	return gone, nil
}
