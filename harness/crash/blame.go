package crash

import "strings"

// A source is where a function to blame is looked for.
type source int

const (
	inHeadline source = iota // the symbol of the first line
	inFault                  // where the CPU was
	inLocks                  // where the lock was taken
	inTrace                  // the call trace
)

// A blameRule says how the function to blame is found.
type blameRule struct {
	order []source
	skip  []*wordlist // further plumbing
	// pick chooses among the frames of the traces in another way than taking
	// the first that is no plumbing; it may give up.
	pick func(r blameRule, o *report) *Frame
}

// Orders of sources.
var (
	byTrace    = []source{inTrace, inHeadline, inFault}
	byHeadline = []source{inHeadline, inFault, inTrace}
	byFault    = []source{inFault, inTrace, inHeadline}
	byLocks    = []source{inLocks, inTrace}
)

var blameRules = map[Class]blameRule{
	Panic:          {order: byTrace, skip: []*wordlist{&quitters, &sleepers}},
	OOMPanic:       {order: byTrace, skip: []*wordlist{&quitters, &checkers, &allocators}},
	OOMKill:        {order: byTrace, skip: []*wordlist{&quitters, &checkers, &allocators}},
	StackProtector: {order: byHeadline},
	NullDeref:      {order: byFault, skip: []*wordlist{&sleepersOnly, &allocators}},
	Fault:          {order: byFault, skip: []*wordlist{&sleepersOnly, &allocators}},
	Oops:           {order: byFault},
	GPF:            {order: byFault, skip: []*wordlist{&sleepersOnly, &allocators}},
	DivideError:    {order: byFault},
	InvalidOpcode:  {order: byFault},
	DoubleFault:    {order: byFault},
	StackOverflow:  {order: byFault, skip: []*wordlist{&sleepers}},
	Bug:            {order: byFault},
	ListCorruption: {order: byFault, skip: []*wordlist{&releasers}},
	Refcount:       {order: byHeadline, skip: []*wordlist{&counters}},
	BadPage:        {order: byTrace, skip: []*wordlist{&pagers}},
	KASAN:          {order: byTrace, skip: []*wordlist{&releasers, &allocators}},
	KFENCE:         {order: byTrace, skip: []*wordlist{&releasers, &allocators}},
	KMSAN:          {order: byTrace, skip: []*wordlist{&allocators}},
	KCSAN:          {order: []source{inHeadline}},
	UBSAN:          {order: byTrace},
	Warning:        {order: byHeadline, skip: []*wordlist{&warners, &allocators, &releasers}},
	Lockdep:        {order: byLocks, skip: []*wordlist{&releasers}},
	AtomicSleep:    {order: byTrace, skip: []*wordlist{&sleepers, &allocators}},
	HungTask:       {order: byTrace, skip: []*wordlist{&waiters}, pick: waitsFor},
	SoftLockup:     {order: byFault, skip: []*wordlist{&watchers}, pick: stallsIn},
	HardLockup:     {order: byFault, skip: []*wordlist{&watchers}},
	RCUStall:       {order: byTrace, skip: []*wordlist{&watchers}, pick: stallsIn},
	Leak:           {order: byTrace, skip: []*wordlist{&leakers}},
	MachineCheck:   {order: byFault, skip: []*wordlist{&quitters}},
	Other:          {order: byTrace, skip: []*wordlist{&checkers, &releasers, &allocators}},
}

// sleepersOnly are the checks that fault on behalf of their callers.
var sleepersOnly = wordlist{names: set(`__might_fault might_fault __might_sleep ___might_sleep __might_resched`)}

// blame chooses the trace that tells most and the function.
func (o *report) blame() {
	main := o.mainTrace()
	if main >= 0 {
		o.Frames = o.traces[main].frames
	}
	rule := blameRules[o.Class]
	if rule.pick != nil {
		if f := rule.pick(rule, o); f != nil {
			o.accuse(f)
			return
		}
	}
	for _, s := range rule.order {
		if f := rule.find(o, s); f != nil {
			o.accuse(f)
			return
		}
	}
	// All is plumbing: then the headline's own word is better than none.
	for _, f := range []*Frame{&o.headed, o.fault} {
		if f != nil && f.Func != "" && o.Class != Panic {
			o.accuse(f)
			return
		}
	}
	// An unwinder that can only guess marks every frame.
	if !hasReliable(o.Frames) {
		for i := range o.Frames {
			f := o.Frames[i]
			f.Reliable = true
			if rule.worth(&f) != nil {
				o.accuse(&f)
				return
			}
		}
	}
}

func (o *report) accuse(f *Frame) {
	o.Func, o.Module = f.Name(), f.Module
}

func (r blameRule) find(o *report, s source) *Frame {
	switch s {
	case inHeadline:
		return r.worth(&o.headed)
	case inFault:
		if o.fault == nil {
			return nil
		}
		return r.worth(o.fault)
	case inLocks:
		return o.lockSite()
	}
	return r.first(o.Frames)
}

// worth returns the frame if it tells something. What a module does always does.
func (r blameRule) worth(f *Frame) *Frame {
	if f.Func == "" || !f.Reliable || f.Inline || f.Module == "" && r.skips(f.Name()) {
		return nil
	}
	return f
}

func (r blameRule) skips(name string) bool {
	if plumbing.has(name) {
		return true
	}
	for _, list := range r.skip {
		if list.has(name) {
			return true
		}
	}
	return false
}

func (r blameRule) first(frames []Frame) *Frame {
	for i := range frames {
		if f := r.worth(&frames[i]); f != nil {
			return f
		}
	}
	return nil
}

// asides begin the labels of traces that tell of the past or of others.
var asides = []string{"llocated", "alloc", "reed by", "freed", "Freed", "was created at", "was stored", "Last potentially", "Second to last",
	"Last call_rcu", "First call_rcu", "isabled at", "created by", "-> #", "became", "stack dump", "acquired at", "Uninit", "page last"}

// mainTrace is the trace of who did it; -1 if there is none.
func (o *report) mainTrace() int {
	best := -1
	for i := range o.traces {
		t := &o.traces[i]
		switch {
		case o.Class == Lockdep && strings.HasPrefix(t.label, "stack backtrace"):
			return i
		case o.Class == Leak && strings.HasPrefix(t.label, "backtrace"):
			return i
		case o.Class != Leak && aside(t.label):
			continue
		}
		if best < 0 || !hasReliable(o.traces[best].frames) {
			best = i
		}
	}
	if best < 0 && o.Class == Lockdep && len(o.traces) > 0 {
		return 0
	}
	return best
}

func aside(label string) bool {
	for _, a := range asides {
		if strings.Contains(label, a) {
			return true
		}
	}
	return false
}

// lockSite is where the lock was taken that broke the rule, or given up. Locks
// that were merely held count if holding them is what broke it.
func (o *report) lockSite() *Frame {
	holding := strings.Contains(o.Title, "till has locks held") || strings.Contains(o.Title, "lock held when returning")
	for i := range o.sites {
		s := &o.sites[i]
		if !holding && (strings.Contains(s.label, "held by") || strings.Contains(s.label, "holding")) {
			continue
		}
		return &s.frame
	}
	return nil
}
