package kernel

// A Version is an upstream release or release candidate.
type Version struct{ text string }

// String is the upstream tag, "v6.1.192" or "v6.18-rc5"; "" if unknown.
func (v Version) String() string { return v.text }
