package kernel

import (
	"testing"

	"gotest.tools/v3/assert"
)

func TestUpstream(t *testing.T) {
	for name, want := range map[string]string{
		"6.1.0-56-cloud-amd64": "", // the module interface's number, not a release
		"6.1.0-56-amd64 (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)": "v6.1.192",
		"6.12.117+deb12-cloud-amd64":     "v6.12.117",
		"6.12.117-1~deb12u1":             "v6.12.117",
		"6.1.192-2":                      "v6.1.192",
		"6.18~rc5-1~exp1":                "v6.18-rc5",
		"6.18-rc5-amd64":                 "v6.18-rc5",
		"6.18.0-rc5-00012-gdeadbeef1234": "v6.18-rc5",
		"6.18.0-rc5-next-20251105":       "v6.18-rc5",
		"6.18.0":                         "v6.18",
		"6.8.0-31-generic (buildd@lcy02) #31-Ubuntu SMP":      "v6.8",
		"3.16.0-0.rc4.git1.1.playground.fc21":                 "v3.16-rc4",
		"kernel-3.16.0-0.rc4.git1.1.playground.fc21":          "v3.16-rc4",
		"kernel-core-6.18.0-0.rc5.45.fc44.x86_64":             "v6.18-rc5",
		"6.18.0-0.rc5.20251105git1c353dc8d962.45.fc44.x86_64": "v6.18-rc5",
		"7.2.0-0.rc6.260807gf9a2394a2348.52":                  "v7.2-rc6",
		"7.2.0-0.rc0.260807gf9a2394a2348.52":                  "v7.2-rc0",
		"7.1.7-100.fc44":                                      "v7.1.7",
		"5.14-60":                                             "v5.14",
		"1:6.1.2-3":                                           "v6.1.2",
		"not a kernel":                                        "",
		"":                                                    "",
		"6":                                                   "",
		"6.18rc5":                                             "",
		"99999999999999999999.1":                              "",
	} {
		assert.Equal(t, upstream(name).String(), want, name)
	}
}

func TestUpstreamTakesTheFirstThatTells(t *testing.T) {
	got := upstream("6.1.0-56-amd64", "6.1.192-2", "6.1.5")
	assert.Equal(t, got.String(), "v6.1.192")
}

func TestParseVersion(t *testing.T) {
	for tag, want := range map[string]Version{
		"v6.18-rc5": {Major: 6, Minor: 18, Candidate: true, RC: 5},
		"6.18-rc5":  {Major: 6, Minor: 18, Candidate: true, RC: 5},
		"v6.1.192":  {Major: 6, Minor: 1, Patch: 192},
		"v6.18":     {Major: 6, Minor: 18},
		"v6.18.0":   {Major: 6, Minor: 18},
		"v7.2-rc0":  {Major: 7, Minor: 2, Candidate: true},
	} {
		got, err := ParseVersion(tag)
		assert.NilError(t, err)
		assert.Equal(t, got, want)
		again, err := ParseVersion(got.String())
		assert.NilError(t, err)
		assert.Equal(t, again, want)
	}
	for _, tag := range []string{"", "v6", "6.18-rc", "6.18~rc5", "6.18-rc5-dirty", "v0.0", "main"} {
		_, err := ParseVersion(tag)
		wantUserError(t, err, "is not an upstream release")
	}
}
