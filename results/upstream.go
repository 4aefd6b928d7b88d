package results

import (
	"cmp"
	"math"
	"regexp"
	"slices"
	"strconv"
)

// Unknown is the upstream release of a build that does not tell.
const Unknown = "unknown"

var upstreamForm = regexp.MustCompile(`^v([0-9]{1,9})\.([0-9]{1,9})(?:\.([0-9]{1,9}))?(?:-rc([0-9]{1,9}))?$`)

// CompareUpstream orders upstream releases by age: -1 if a is older than b, 1
// if it is newer. A release comes after its candidates, and whatever is not of
// the form v6.1.192 or v6.2-rc3 is older than everything else.
func CompareUpstream(a, b string) int {
	ka, kb := upstreamKey(a), upstreamKey(b)
	if ka == nil && kb == nil {
		return cmp.Compare(a, b)
	}
	return slices.Compare(ka, kb)
}

// upstreamKey is the numbers of a release; of a final one the last is greater
// than that of any candidate.
func upstreamKey(s string) []int {
	m := upstreamForm.FindStringSubmatch(s)
	if m == nil {
		return nil
	}
	key := make([]int, 4)
	for i := range key {
		key[i], _ = strconv.Atoi(m[i+1]) // digits or nothing, by the expression
	}
	if m[4] == "" {
		key[3] = math.MaxInt
	}
	return key
}
