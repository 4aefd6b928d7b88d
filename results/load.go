package results

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// Latest is the ID by which Load finds the newest run.
const Latest = "latest"

// List reads the runs under dir: newest upstream release first, and in it the
// newest run first. Runs that cannot be read are left out and told of in
// broken. A dir that is not there holds no runs.
func List(dir string) (runs []Run, broken []error, err error) {
	dirs, err := runDirs(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range dirs {
		run, err := read(d)
		if err != nil {
			broken = append(broken, err)
			continue
		}
		runs = append(runs, *run)
	}
	sort.SliceStable(runs, func(i, j int) bool {
		if c := CompareUpstream(runs[i].Upstream, runs[j].Upstream); c != 0 {
			return c > 0
		}
		return runs[i].ID > runs[j].ID
	})
	return runs, broken, nil
}

// Load reads the run with the ID, which may be cut short as long as one run
// alone has it, or Latest.
func Load(dir, id string) (*Run, error) {
	dirs, err := runDirs(dir)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, d := range dirs {
		switch name := filepath.Base(d); {
		case name == id:
			return read(d)
		case id == Latest && (len(found) == 0 || name > filepath.Base(found[0])):
			found = []string{d}
		case id != "" && id != Latest && strings.HasPrefix(name, id):
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 1:
		return read(found[0])
	case len(found) > 1:
		return nil, fmt.Errorf("find run %q: %d runs begin so, the first is %s", id, len(found), filepath.Base(found[0]))
	case len(dirs) == 0:
		return nil, fmt.Errorf("find run %q: there are no runs in %s", id, dir)
	}
	return nil, fmt.Errorf("find run %q: none of the %d runs in %s begins so", id, len(dirs), dir)
}

// runDirs lists the directories of all runs under dir.
func runDirs(dir string) ([]string, error) {
	if _, err := os.ReadDir(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list the runs: %w", err)
	}
	var dirs []string
	upstreams, _ := os.ReadDir(dir)
	for _, u := range upstreams {
		builds, _ := os.ReadDir(filepath.Join(dir, u.Name()))
		for _, b := range builds {
			runs, _ := os.ReadDir(filepath.Join(dir, u.Name(), b.Name()))
			for _, r := range runs {
				if r.IsDir() && !strings.HasPrefix(r.Name(), ".") {
					dirs = append(dirs, filepath.Join(dir, u.Name(), b.Name(), r.Name()))
				}
			}
		}
	}
	return dirs, nil
}

// read loads the run in dir, with what a writer that is going on, or was
// killed, had not put into run.json yet.
func read(dir string) (*Run, error) {
	data, err := os.ReadFile(filepath.Join(dir, runFile))
	if err != nil {
		return nil, fmt.Errorf("read a run: %w", err)
	}
	run := &Run{Dir: dir}
	if err := json.Unmarshal(data, run); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, runFile), err)
	}
	if run.Schema > Schema {
		return nil, fmt.Errorf("read %s: it has schema %d, and this kplay knows none after %d", filepath.Join(dir, runFile), run.Schema, Schema)
	}
	if run.State == Finished {
		return run, nil
	}
	return run, catchUp(run)
}

// catchUp adds the cases that only the events file has, and finds out whether
// the writer still lives.
func catchUp(run *Run) error {
	f, err := os.Open(filepath.Join(run.Dir, eventsFile))
	if err != nil {
		return fmt.Errorf("read the events of run %s: %w", run.ID, err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err == nil {
		run.State = Unfinished
	}
	cases, err := loggedCases(f)
	if err != nil {
		return fmt.Errorf("read the events of run %s: %w", run.ID, err)
	}
	if len(cases) > len(run.Cases) {
		run.Cases = cases
	}
	return nil
}

// loggedCases reads the results in an events file. Lines cut short, by a full
// disk or the end of the writer, are passed over.
func loggedCases(r io.Reader) ([]Result, error) {
	var cases []Result
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return cases, nil
		}
		if err != nil {
			return nil, err
		}
		var e entry
		if err := json.Unmarshal(line, &e); err == nil && e.Result != nil {
			cases = append(cases, *e.Result)
		}
	}
}
