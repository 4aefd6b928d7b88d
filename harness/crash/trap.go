package crash

import "strings"

// A trap is what die() in arch/x86/kernel/dumpstack.c may be called with.
var trapClasses = []struct {
	name  string
	class Class
}{
	{"general protection fault", GPF},
	{"divide error", DivideError},
	{"invalid opcode", InvalidOpcode},
	{"double fault", DoubleFault},
	{"stack guard page", StackOverflow},
	{"kernel stack overflow", StackOverflow},
	{"Unrecoverable", Oops},
}

// trapClass tells the class by the name of the trap.
func trapClass(msg string) Class {
	trap := withoutOops(msg)
	for _, t := range trapClasses {
		if strings.HasPrefix(trap, t.name) {
			return t.class
		}
	}
	if strings.HasPrefix(msg, "Oops") && (trap == msg || trapCode(trap) < 0) {
		return Fault
	}
	return Oops
}

// dies knows what die() begins an oops with: the trap, the error code and the
// number of the oops, "Oops: 0002 [#1] SMP". It opens a report only if no line
// before has said more plainly what happened.
func dies(msg string) bool { return trapCode(msg) >= 0 }

// trapCode is where the error code stands in such a line, -1 in others.
func trapCode(msg string) int {
	at := strings.Index(msg, " [#")
	if at < 6 || at > 200 || at+3 >= len(msg) || msg[at+3] < '0' || msg[at+3] > '9' {
		return -1
	}
	code := at
	for code > 0 && strings.IndexByte("0123456789abcdef", msg[code-1]) >= 0 {
		code--
	}
	if at-code < 4 || code < 3 || msg[code-2:code] != ": " {
		return -1
	}
	return code
}

// withoutOops takes off what newer kernels, 6.12 but not 6.1, put before the
// name of every trap.
func withoutOops(msg string) string { return strings.TrimPrefix(msg, "Oops: ") }
