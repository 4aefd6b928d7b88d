package template

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/harness/vm"
)

type note struct{ Text string }

// shelf is a store in a directory of the test's own, and what it told.
func shelf(t *testing.T) (*Store, *[]string) {
	t.Helper()
	var said []string
	return &Store{Dir: filepath.Join(t.TempDir(), "templates"), Notice: func(l string) { said = append(said, l) }}, &said
}

// frozen is a template with something in its memory.
func frozen(t *testing.T) *vm.Template {
	t.Helper()
	ram, err := vm.NewRAM(8)
	assert.NilError(t, err)
	t.Cleanup(func() { ram.Close() })
	for _, at := range []int64{0, 5 << 12, 3<<20 - 7, 8<<20 - 1} {
		_, err := ram.WriteAt([]byte("memory"[:min(6, 8<<20-at)]), at)
		assert.NilError(t, err)
	}
	return &vm.Template{Spec: vm.Spec{RAM: ram}, State: []byte("state")}
}

func content(t *testing.T, f *os.File) string {
	t.Helper()
	b := make([]byte, 8<<20)
	_, err := f.ReadAt(b, 0)
	assert.NilError(t, err)
	return string(b)
}

func TestSavedTemplateComesBack(t *testing.T) {
	s, said := shelf(t)
	want := frozen(t)
	assert.NilError(t, s.Save("key", "title", want, note{"text"}))
	var n note
	got, ok := s.Open("key", &n)
	assert.Assert(t, ok, "%v", *said)
	defer got.Spec.RAM.Close()
	assert.Equal(t, n.Text, "text")
	assert.Equal(t, string(got.State), "state")
	assert.Assert(t, content(t, got.Spec.RAM) == content(t, want.Spec.RAM))
	all, err := s.List()
	assert.NilError(t, err)
	assert.Equal(t, len(all), 1)
	assert.Equal(t, all[0].Title, "title")
	assert.Assert(t, all[0].Bytes < 1<<20, "pages of zeros take room on disk: %d bytes", all[0].Bytes)
}

func TestNoTemplateIsNoNews(t *testing.T) {
	s, said := shelf(t)
	_, ok := s.Open("key", new(note))
	assert.Assert(t, !ok)
	assert.Equal(t, len(*said), 0)
}

func TestDamagedTemplateIsThrownAway(t *testing.T) {
	for name, damage := range map[string]func(dir string) error{
		"a bit of memory": func(dir string) error {
			f, err := os.OpenFile(filepath.Join(dir, ramFile), os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte{'M'}, 5<<12)
			return err
		},
		"a page that was zeros": func(dir string) error {
			f, err := os.OpenFile(filepath.Join(dir, ramFile), os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte{1}, 1<<20)
			return err
		},
		"memory cut":   func(dir string) error { return os.Truncate(filepath.Join(dir, ramFile), 1<<20) },
		"state":        func(dir string) error { return os.WriteFile(filepath.Join(dir, stateFile), []byte("stale"), 0o644) },
		"no state":     func(dir string) error { return os.Remove(filepath.Join(dir, stateFile)) },
		"no memory":    func(dir string) error { return os.Remove(filepath.Join(dir, ramFile)) },
		"a torn label": func(dir string) error { return os.Truncate(filepath.Join(dir, labelFile), 20) },
	} {
		t.Run(name, func(t *testing.T) {
			s, said := shelf(t)
			assert.NilError(t, s.Save("key", "title", frozen(t), note{}))
			assert.NilError(t, damage(s.path("key")))
			_, ok := s.Open("key", new(note))
			assert.Assert(t, !ok)
			assert.Equal(t, len(*said), 1)
			assert.Assert(t, strings.HasPrefix((*said)[0], "a template is thrown away: "), (*said)[0])
			left, err := os.ReadDir(s.Dir)
			assert.NilError(t, err)
			assert.Equal(t, len(left), 0, "%v", left)
		})
	}
}

func TestTheLongestUnusedGoesFirst(t *testing.T) {
	s, _ := shelf(t)
	for i, key := range []string{"a", "b", "c"} {
		assert.NilError(t, s.Save(key, key, frozen(t), note{}))
		at := time.Now().Add(time.Duration(i-10) * time.Minute)
		assert.NilError(t, os.Chtimes(filepath.Join(s.path(key), labelFile), at, at))
	}
	used, ok := s.Open("a", new(note)) // so that b is the oldest
	assert.Assert(t, ok)
	defer used.Spec.RAM.Close()
	all, err := s.List()
	assert.NilError(t, err)
	for _, i := range all {
		s.Limit += i.Bytes
	}
	s.Limit += s.Limit / 6 // there is room for three and a half
	assert.NilError(t, s.Save("d", "d", frozen(t), note{}))
	all, err = s.List()
	assert.NilError(t, err)
	var keys []string
	for _, i := range all {
		keys = append(keys, i.Key)
	}
	assert.DeepEqual(t, keys, []string{"d", "a", "c"})
	gone, err := s.Prune(0)
	assert.NilError(t, err)
	assert.Equal(t, len(gone), 3)
	assert.Assert(t, len(content(t, used.Spec.RAM)) > 0, "one that is open can still be read")
}

func TestWhatAKilledProcessLeftIsSwept(t *testing.T) {
	s, _ := shelf(t)
	old, young := filepath.Join(s.Dir, pending+"1"), filepath.Join(s.Dir, pending+"2")
	assert.NilError(t, os.MkdirAll(filepath.Join(old, "x"), 0o755))
	assert.NilError(t, os.MkdirAll(young, 0o755))
	ago := time.Now().Add(-2 * time.Hour)
	assert.NilError(t, os.Chtimes(old, ago, ago))
	assert.NilError(t, s.Save("key", "title", frozen(t), note{}))
	_, err := os.Stat(old)
	assert.Assert(t, os.IsNotExist(err))
	_, err = os.Stat(young)
	assert.NilError(t, err, "somebody may be at work in it")
	all, err := s.List()
	assert.NilError(t, err)
	assert.Equal(t, len(all), 1)
}

func TestOneMakesATemplateAndTheOthersWait(t *testing.T) {
	s, said := shelf(t)
	unlock, err := s.Lock(t.Context(), "key")
	assert.NilError(t, err)
	second := make(chan error)
	go func() {
		unlock, err := s.Lock(t.Context(), "key")
		if err == nil {
			unlock()
		}
		second <- err
	}()
	other, err := s.Lock(t.Context(), "other")
	assert.NilError(t, err)
	other()
	unlock()
	assert.NilError(t, <-second)
	assert.Assert(t, len(*said) <= 1)
}
