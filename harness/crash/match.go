package crash

import (
	"fmt"
	"strings"
)

// A Likeness says whether two records are of the same crash.
type Likeness string

// The likenesses, from yes to no.
const (
	Same        Likeness = "same"
	Likely      Likeness = "likely"
	Related     Likeness = "related"     // one class, one feature or one way in, another function
	Different   Likeness = "different"   // nothing in common that counts
	Undecidable Likeness = "undecidable" // one of them tells too little
)

// likelyShared is how many of the first comparedFrames frames two records must
// share, in order, to be called likely the same. Both were chosen, not measured.
const (
	comparedFrames = 5
	likelyShared   = 2
)

// Match compares two records and says why, in words for a person. It compares
// what Signature and Family are made of, never addresses or releases.
func Match(a, b Record) (Likeness, string) {
	if a.Class != b.Class && !kin(a.Class, b.Class) {
		return Different, fmt.Sprintf("one is of class %s, the other of class %s", a.Class, b.Class)
	}
	if why := tells(a); why != "" {
		return Undecidable, "the first " + why
	}
	if why := tells(b); why != "" {
		return Undecidable, "the second " + why
	}
	shared := sharedFrames(top(a), top(b))
	function := a.Func == b.Func && a.Func != "" && a.Module == b.Module
	switch {
	case a.Signature == b.Signature && a.Signature != "":
		return Same, fmt.Sprintf("same class, function and first %d frames that tell something", len(top(a)))
	case function && len(shared) >= likelyShared:
		return Likely, fmt.Sprintf("both in %s, and the calls %s lead there in both", a.Func, strings.Join(shared, ", "))
	case function && (len(top(a)) < likelyShared || len(top(b)) < likelyShared):
		return Likely, fmt.Sprintf("both in %s; one shows too few calls to compare how it got there", a.Func)
	case function:
		return Related, fmt.Sprintf("both in %s, but by different ways", a.Func)
	case len(shared) > likelyShared:
		return Related, fmt.Sprintf("one in %s, the other in %s, below the same calls %s", named(a), named(b), strings.Join(shared, ", "))
	case feature(a) != "" && feature(a) == feature(b):
		return Related, fmt.Sprintf("both of class %s in %s, but in %s and %s", a.Class, feature(a), named(a), named(b))
	}
	return Different, fmt.Sprintf("one in %s, the other in %s", named(a), named(b))
}

// kin reports whether one fault may show as either class, as what lies at a bad
// address changes from boot to boot.
func kin(a, b Class) bool {
	faults := map[Class]bool{NullDeref: true, Fault: true, Oops: true, GPF: true, KASAN: true, KFENCE: true}
	stalls := map[Class]bool{SoftLockup: true, HardLockup: true, RCUStall: true}
	return faults[a] && faults[b] || stalls[a] && stalls[b]
}

// tells says why a record tells too little to be compared; "" if it does not.
func tells(r Record) string {
	switch {
	case r.Func != "" || r.Class == MachineCheck || traceless[r.Class]:
		return ""
	case r.Corrupted:
		return "is corrupted: " + r.Reason
	case r.Class == Panic && len(r.Frames) > 0:
		return ""
	}
	return "names no function"
}

func named(r Record) string {
	if r.Func == "" {
		return "no function"
	}
	return r.Func
}

// top are the frames that are compared.
func top(r Record) []string {
	names := telling(r)
	return names[:min(len(names), comparedFrames)]
}

// sharedFrames are the longest row of names both have in the same order.
func sharedFrames(a, b []string) []string {
	best := make([][][]string, len(a)+1)
	for i := range best {
		best[i] = make([][]string, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			switch {
			case a[i] == b[j]:
				best[i][j] = append([]string{a[i]}, best[i+1][j+1]...)
			case len(best[i+1][j]) >= len(best[i][j+1]):
				best[i][j] = best[i+1][j]
			default:
				best[i][j] = best[i][j+1]
			}
		}
	}
	return best[0][0]
}

// feature is what the record was attributed to, else its module.
func feature(r Record) string {
	for _, a := range r.Attribution {
		if a.Feature != "" {
			return a.Feature
		}
	}
	return r.Module
}
