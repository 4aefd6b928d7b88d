package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// A workshop is a copy of the sources that modules are built in, one at a time.
// Only what a slip changes is compiled anew.
type workshop struct {
	src *source
	dir string
}

func newWorkshop(src *source) (*workshop, error) {
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return nil, err
	}
	if err := os.CopyFS(dir, os.DirFS(src.dir)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &workshop{src, dir}, nil
}

func (w *workshop) close() { os.RemoveAll(w.dir) }

// builders is how many modules are built at once.
const builders = 2

// buildAll has the modules of all mutants in the cache. It tells of the first
// that could not be built.
func (s *source) buildAll(ctx context.Context, all []mutant) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan mutant, len(all))
	for _, m := range all {
		if _, err := os.Stat(s.module(m)); err != nil {
			queue <- m
		}
	}
	close(queue)
	if len(queue) > 0 {
		fmt.Fprintf(os.Stderr, "build %d modules\n", len(queue))
	}
	var done sync.WaitGroup
	for range min(builders, len(queue)) {
		done.Go(func() {
			if err := s.work(ctx, queue); err != nil {
				cancel(err)
			}
		})
	}
	done.Wait()
	return context.Cause(ctx)
}

// work builds what is queued in a workshop of its own.
func (s *source) work(ctx context.Context, queue <-chan mutant) error {
	w, err := newWorkshop(s)
	if err != nil {
		return err
	}
	defer w.close()
	for m := range queue {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := w.build(ctx, m); err != nil {
			return fmt.Errorf("build %s: %w", m, err)
		}
	}
	return nil
}

// module is where the module with m in it is kept.
func (s *source) module(m mutant) string {
	sum := sha256.Sum256([]byte(m.file + "\x00" + m.Old + "\x00" + m.New))
	return filepath.Join(s.built, hex.EncodeToString(sum[:16])+".ko")
}

// build makes the module with m in it, or as it is if m is none, without what
// debuggers want. It puts the sources back.
func (w *workshop) build(ctx context.Context, m mutant) error {
	if m.file != "" {
		text, err := w.src.planted(m)
		if err != nil {
			return err
		}
		whole, err := os.ReadFile(filepath.Join(w.src.dir, m.file))
		if err != nil {
			return err
		}
		path := filepath.Join(w.dir, m.file)
		defer func() { _ = os.WriteFile(path, whole, 0o644) }()
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	if _, err := output(ctx, w.dir, "make", "-C", w.src.headers, "M="+w.dir, "CONFIG_OVERLAY_FS=m", "modules"); err != nil {
		return err
	}
	kept := w.src.module(m)
	if err := os.MkdirAll(w.src.built, 0o755); err != nil {
		return err
	}
	part, err := os.CreateTemp(w.src.built, "part")
	if err != nil {
		return err
	}
	_, err = output(ctx, w.dir, "strip", "--strip-debug", "-o", part.Name(), "overlay.ko")
	if err := errors.Join(err, part.Close()); err != nil {
		return errors.Join(err, os.Remove(part.Name()))
	}
	return os.Rename(part.Name(), kept)
}
