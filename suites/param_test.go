package suites

import (
	"testing"
	"time"

	"gotest.tools/v3/assert"
)

// A case that does four acts by itself.
var random = Case{
	Name: "random", Doc: "Says what it was told.", Timeout: time.Minute, Params: Params{Seed: "1", Ops: "4"},
	Run: func(t *T) { t.Logf("%d %d", t.Number(Seed), t.Number(Ops)) },
}

func TestParams(t *testing.T) {
	said := Params{Seed: "42", Ops: "500"}
	assert.Equal(t, said.String(), "ops=500 seed=42")
	read, err := ParseParams(said.String())
	assert.NilError(t, err)
	assert.DeepEqual(t, read, said)
	_, err = ParseParams("ops")
	assert.ErrorContains(t, err, "NAME=VALUE")
}

func TestTaken(t *testing.T) {
	assert.DeepEqual(t, random.Taken(Params{Seed: "3", "size": "9"}), Params{Seed: "3"})
	assert.Assert(t, Case{}.Taken(Params{Seed: "3"}) == nil)
}

func TestDeadlineGrowsWithActs(t *testing.T) {
	assert.Equal(t, random.Deadline(nil), time.Minute)
	assert.Equal(t, random.Deadline(Params{Ops: "2"}), time.Minute)
	assert.Equal(t, random.Deadline(Params{Ops: "40"}), 10*time.Minute)
	assert.Equal(t, Case{}.Deadline(Params{Ops: "40"}), DefaultTimeout)
}

func TestNumber(t *testing.T) {
	for _, c := range []struct {
		said Params
		line string
		want Status
	}{
		{nil, "param_test.go:13: 1 4", Pass},
		{Params{Seed: "42", Ops: "0"}, "param_test.go:13: 42 0", Pass},
		{Params{Seed: "-1"}, `param_test.go:13: parameter seed="-1" is no whole number, or the case does not take it`, Fail},
	} {
		var got string
		o := Suite{Name: "suite"}.Execute(random, t.TempDir(), c.said, func(line string) { got = line })
		assert.Equal(t, o.Status, c.want)
		assert.Equal(t, got, c.line)
	}
}
