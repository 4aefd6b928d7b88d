package kernel

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// A Version is an upstream release or release candidate. The zero Version is
// an unknown one. Which snapshot after a candidate it is, and how Versions are
// ordered, is not its concern.
type Version struct {
	Major, Minor, Patch int
	Candidate           bool // a release candidate, or a snapshot after one
	RC                  int  // its number; 0 is the merge window, for which upstream has no tag
}

// String is the upstream tag: "v6.1.192", "v6.18", "v6.18-rc5"; "" if unknown.
func (v Version) String() string {
	if v == (Version{}) {
		return ""
	}
	s := fmt.Sprintf("v%d.%d", v.Major, v.Minor)
	if v.Patch != 0 {
		s += fmt.Sprintf(".%d", v.Patch)
	}
	if v.Candidate {
		s += fmt.Sprintf("-rc%d", v.RC)
	}
	return s
}

var (
	tagForm = regexp.MustCompile(`^v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(?:-rc(\d{1,4}))?$`)

	// releaseForm takes the upstream part from the front of what distributions
	// make of it: Fedora says 6.18.0-0.rc5, Debian 6.18~rc5, the kernel's own
	// Makefile 6.18.0-rc5.
	releaseForm = regexp.MustCompile(`^v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(?:(?:-0\.|-|~)rc(\d{1,4}))?(?:[-+~._].*)?$`)

	// abiForm is a Debian name before 6.12: 6.1.0-56-cloud-amd64 carries the
	// number of the module interface where others carry the stable release.
	abiForm = regexp.MustCompile(`^\d+\.\d+\.0-\d+(-[a-z0-9]+)*-amd64$`)

	// debianForm finds the package's version in the version string of Debian's
	// images, after the build number.
	debianForm = regexp.MustCompile(`#\d+ .*\bDebian (\d\S*)`)
)

// ParseVersion reads an upstream tag, with or without its v: "v6.18-rc5",
// "6.1.192". Anything else is a UserError.
func ParseVersion(tag string) (Version, error) {
	v, ok := match(tagForm, tag)
	if !ok {
		return Version{}, userErrorf("%q is not an upstream release: write it like v6.18, v6.18-rc5 or v6.1.192", tag)
	}
	return v, nil
}

// upstream is the first Version one of the names tells. A name is a package's
// version, an NVR, a kernel release, or the version string of a kernel image.
func upstream(names ...string) Version {
	for _, name := range names {
		if v, ok := upstreamOf(name); ok {
			return v
		}
	}
	return Version{}
}

// upstreamOf reports false for a name that does not tell.
func upstreamOf(name string) (Version, bool) {
	if m := debianForm.FindStringSubmatch(name); m != nil {
		name = m[1]
	}
	name, _, _ = strings.Cut(name, " ")
	if _, rest, epoch := strings.Cut(name, ":"); epoch {
		name = rest
	}
	if abiForm.MatchString(name) {
		return Version{}, false
	}
	return match(releaseForm, strings.TrimPrefix(name, packageName(name)))
}

// packageName is the "kernel-core-" of an NVR.
func packageName(nvr string) string {
	for i := 1; i < len(nvr); i++ {
		if nvr[i-1] == '-' && nvr[i] >= '0' && nvr[i] <= '9' && !strings.ContainsAny(nvr[:i], ".") {
			return nvr[:i]
		}
	}
	return ""
}

// match fills a Version from the form's four groups. The forms bound the
// number of digits, so that all of them fit an int.
func match(form *regexp.Regexp, s string) (Version, bool) {
	m := form.FindStringSubmatch(s)
	if m == nil {
		return Version{}, false
	}
	number := func(i int) int {
		n, _ := strconv.Atoi(m[i])
		return n
	}
	v := Version{Major: number(1), Minor: number(2), Patch: number(3), Candidate: m[4] != "", RC: number(4)}
	return v, v != Version{}
}
