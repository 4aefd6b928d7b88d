package crash

import "strings"

// consequences says which panics follow from a report of which classes.
// An empty list stands for any damaging one.
var consequences = []struct {
	reason string
	of     []Class
}{
	{"Fatal exception", nil},
	{"Fatal hardware error", nil},
	{"Fatal machine check", []Class{MachineCheck}},
	{"Fatal local machine check", []Class{MachineCheck}},
	{"Attempted to kill init!", nil},
	{"Attempted to kill the idle task!", nil},
	{"Aiee, killing interrupt handler!", nil},
	{"Oops failed to kill thread", nil},
	{"Oopsed too often", nil},
	{"Machine halted", []Class{DoubleFault, StackOverflow}},
	{"softlockup: hung tasks", []Class{SoftLockup}},
	{"hung_task: blocked tasks", []Class{HungTask}},
	{"Hard LOCKUP", []Class{HardLockup}},
	{"RCU Stall", []Class{RCUStall}},
	{"kasan.fault=panic set", []Class{KASAN}},
	{"kmsan.panic set", []Class{KMSAN}},
	{"scheduling while atomic", []Class{AtomicSleep}},
	{"Out of memory", []Class{OOMKill}},
	{"out of memory", []Class{OOMKill}},
	{"System is deadlocked on memory", []Class{OOMKill}},
	{"panic_on_taint set", nil},
}

// warnPanics are the classes that panic when panic_on_warn is set.
var warnPanics = map[Class]bool{Warning: true, Refcount: true, ListCorruption: true, KASAN: true, KFENCE: true, KMSAN: true,
	KCSAN: true, UBSAN: true, AtomicSleep: true, Lockdep: true, Other: true}

// panicked finds the report that brought the panic on, opens it again and
// marks it fatal; false if there is none.
func (s *scanner) panicked(l *Line) bool {
	reason := strings.TrimPrefix(strings.TrimPrefix(l.Text, panicLine), ": ")
	r := s.cause(l.Caller, reason)
	if r == nil {
		return false
	}
	open := false
	for _, o := range s.open {
		open = open || o == r
	}
	if !open {
		if o := s.sameCaller(l.Caller); o != nil {
			s.close(o)
		}
		s.open = append(s.open, r)
		r.caller = l.Caller
	}
	r.die(reason)
	r.keep(l)
	return true
}

// cause is the report that has the panic as a consequence: an open one, else the
// last.
func (s *scanner) cause(caller, reason string) *report {
	for i := len(s.open) - 1; i >= 0; i-- {
		if r := s.open[i]; (r.caller == caller || caller == "" || r.caller == "") && r.causes(reason) {
			return r
		}
	}
	for back, i := 0, len(s.reports)-1; i >= 0 && back < 2; i-- {
		r := s.reports[i]
		if r.Title == "" {
			continue
		}
		if r.causes(reason) {
			return r
		}
		back++
	}
	return nil
}

func (o *report) causes(reason string) bool {
	if o.Fatal || o.Title == "" {
		return false
	}
	if strings.Contains(reason, "panic_on_warn set") {
		return warnPanics[o.Class]
	}
	for _, c := range consequences {
		if !strings.HasPrefix(reason, c.reason) {
			continue
		}
		if c.of == nil {
			return damaging[o.Class] && o.mayKill(reason)
		}
		for _, class := range c.of {
			if o.Class == class {
				return true
			}
		}
	}
	return false
}

// mayKill is false for an oops in another process when PID 1 is what died.
func (o *report) mayKill(reason string) bool {
	return !strings.HasPrefix(reason, "Attempted to kill init!") || o.PID <= 1
}
