package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// A study is what became of the mutants so far. It can be kept in a file, one
// line a mutant, so that an interrupted one goes on.
type study struct {
	file    *os.File // nil if it is not kept
	endings map[string]ending
}

// openStudy reads what is in the file, if one is named.
func openStudy(path string) (*study, error) {
	s := &study{endings: make(map[string]ending)}
	if path == "" {
		return s, nil
	}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		if name, e, ok := parseLine(strings.TrimSpace(line)); ok {
			s.endings[name] = e
		}
	}
	s.file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	return s, err
}

func (s *study) close() {
	if s.file != nil {
		s.file.Close()
	}
}

// todo is what is to be tried, the module as it is first unless that is trusted.
func (s *study) todo(all []mutant, trusted bool) (todo []mutant) {
	if !trusted {
		all = append([]mutant{{}}, all...)
	}
	for _, m := range all {
		if _, done := s.endings[m.String()]; !done && m.Equivalent == "" {
			todo = append(todo, m)
		}
	}
	return todo
}

// measure tries what is to be tried, and says what becomes of it. The module as
// it is has to pass.
func (s *study) measure(ctx context.Context, l *lab, todo []mutant) error {
	for name, e := range s.endings {
		file, _, _ := strings.Cut(name, "/")
		l.killers.add(mutant{file: file}, e)
	}
	for _, m := range todo {
		e, err := l.trial(ctx, m)
		if err == nil && m.file == "" && e.killer != "" {
			err = errors.New("it fails " + e.killer + ": " + e.reason)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m, err)
		}
		l.killers.add(m, e)
		s.endings[m.String()] = e
		fmt.Println(e.line(m))
		if s.file == nil {
			continue
		}
		if _, err := fmt.Fprintln(s.file, e.line(m)); err != nil {
			return err
		}
	}
	return nil
}

// tally counts what became of the mutants.
func (s *study) tally(all []mutant) *tally {
	t := newTally()
	for _, m := range all {
		if e, done := s.endings[m.String()]; done && m.Equivalent == "" {
			t.add(m, e)
		} else if m.Equivalent != "" {
			t.equivalent++
		}
	}
	return t
}
