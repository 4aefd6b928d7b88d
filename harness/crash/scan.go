package crash

import (
	"bytes"
	"strings"
)

// Bounds on what Scan makes of a log, whatever the log says.
const (
	MaxRaw     = 64 << 10 // bytes of Record.Raw
	MaxRecords = 128      // records; a graver one takes the place of the last
	maxFrames  = 256
	maxTitle   = 300
)

// Lines a report may have before its call trace. Lockdep shows the chains of
// locks first; other reports without a trace by then have none.
const (
	patience        = 40
	lockdepPatience = 600
)

// Scan finds the reports in a console log or in the texts of kmsg records, one
// a line. The result is in the order of the log. Time is linear in its length.
func Scan(log []byte) []Record {
	var s scanner
	for len(log) > 0 {
		line, rest, _ := bytes.Cut(log, []byte("\n"))
		s.line(string(line[:min(len(line), maxLine)]))
		log = rest
	}
	s.close()
	return s.records
}

// A scanner holds the report being read and those before it.
type scanner struct {
	records []Record
	open    *report
}

func (s *scanner) line(line string) {
	msg := message(line)
	class := classify(msg)
	switch {
	case strings.HasPrefix(msg, cutHere) && (s.open == nil || !s.open.foretold()):
		s.begin("")
	case class == Panic && s.panicked(msg):
		// The report it ends goes on.
	case class != "" && (s.open == nil || !s.open.absorbs(class, msg)):
		s.begin(class)
	}
	if s.open == nil {
		return
	}
	if !s.open.add(line, msg, class) {
		s.close()
	}
}

func (s *scanner) begin(class Class) {
	s.close()
	s.open = &report{Record: Record{Class: class}}
}

func (s *scanner) close() {
	if s.open == nil {
		return
	}
	r, ok := s.open.finish()
	s.open = nil
	switch {
	case !ok:
	case len(s.records) < MaxRecords:
		s.records = append(s.records, r)
	case r.gravity() > s.records[MaxRecords-1].gravity():
		s.records[MaxRecords-1] = r
	}
}

// consequences says which panics follow from a report of which classes.
// An empty list stands for any damaging one.
var consequences = []struct {
	reason string
	of     []Class
}{
	{"Fatal exception", nil},
	{"Fatal hardware error", nil},
	{"Attempted to kill init!", nil},
	{"Attempted to kill the idle task!", nil},
	{"Aiee, killing interrupt handler!", nil},
	{"softlockup: hung tasks", []Class{SoftLockup}},
	{"hung_task: blocked tasks", []Class{HungTask}},
	{"Hard LOCKUP", []Class{HardLockup}},
	{"RCU Stall", []Class{RCUStall}},
	{"kernel: panic_on_warn set", []Class{Warning}},
	{"panic_on_warn set", []Class{Warning}},
	{"KASAN: panic_on_warn set", []Class{KASAN}},
	{"kasan.fault=panic set", []Class{KASAN}},
	{"KFENCE: panic_on_warn set", []Class{KFENCE}},
	{"KMSAN: panic_on_warn set", []Class{KMSAN}},
	{"KCSAN: panic_on_warn set", []Class{KCSAN}},
	{"UBSAN: panic_on_warn set", []Class{UBSAN}},
	{"scheduling while atomic", []Class{AtomicSleep}},
}

// panicked finds the report that brought the panic on, opens it again and
// marks it fatal; false if there is none.
func (s *scanner) panicked(msg string) bool {
	reason := strings.TrimPrefix(strings.TrimPrefix(msg, panicLine), ": ")
	if s.open != nil && causes(&s.open.Record, reason) {
		s.open.die(reason)
		return true
	}
	s.close()
	n := len(s.records)
	if n == 0 || !causes(&s.records[n-1], reason) {
		return false
	}
	s.open = reopen(s.records[n-1])
	s.records = s.records[:n-1]
	s.open.die(reason)
	return true
}

func causes(r *Record, reason string) bool {
	for _, c := range consequences {
		if !strings.HasPrefix(reason, c.reason) {
			continue
		}
		if c.of == nil {
			return r.Damaging() && !r.Fatal && mayKill(r, reason)
		}
		for _, class := range c.of {
			if r.Class == class {
				return !r.Fatal
			}
		}
	}
	return false
}

// mayKill is false for an oops in another process when PID 1 is what died.
func mayKill(r *Record, reason string) bool {
	return !strings.HasPrefix(reason, "Attempted to kill init!") || r.PID <= 1
}
