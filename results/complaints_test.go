package results

import (
	"encoding/json"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/harness/crash"
)

func TestComplaintsAreCountedOnce(t *testing.T) {
	a := crash.Record{Class: crash.Bug, Signature: "1:a"}
	b := crash.Record{Class: crash.Warning, Signature: "1:b"}
	run := Run{Cases: []Result{
		{Suite: "s", Case: "one", Records: []crash.Record{a, b}},
		{Suite: "s", Case: "two"},
		{Suite: "s", Case: "three", Records: []crash.Record{b, b}},
	}}
	found := run.Complaints()
	assert.Equal(t, len(found), 2)
	assert.DeepEqual(t, found[0].Cases, []string{"s/one"})
	assert.DeepEqual(t, found[1].Cases, []string{"s/one", "s/three"})
	assert.Equal(t, found[1].Count, 3)
}

// A result as it was stored when records had other fields.
const oldResult = `{"suite": "s", "case": "c", "verdict": "CRASH", "duration_ns": 1, "records": [
{"class": "oops", "title": "BUG: x", "func": "ovl_a", "module": "overlay", "tainted": "GOE", "comm": "rm", "pid": 7, "panic": "Fatal exception", "fatal": true,
 "frames": [{"func": "ovl_b", "off": 18, "size": 832, "module": "overlay", "reliable": true}], "raw": "BUG: x\n"}]}`

func TestOldRecordsAreRead(t *testing.T) {
	var r Result
	assert.NilError(t, json.Unmarshal([]byte(oldResult), &r))
	assert.DeepEqual(t, r.Records[0], crash.Record{
		Class: "oops", Title: "BUG: x", Func: "ovl_a", Module: "overlay", Tainted: "GOE", Comm: "rm", PID: 7, CPU: -1,
		Panic: "Fatal exception", Fatal: true, Raw: "BUG: x\n",
		Frames: []crash.Frame{{Func: "ovl_b", Off: 18, Size: 832, Module: "overlay", Reliable: true}},
	})
	again, err := json.Marshal(r)
	assert.NilError(t, err)
	var back Result
	assert.NilError(t, json.Unmarshal(again, &back))
	assert.DeepEqual(t, back, r)
	run := Run{Cases: []Result{r, r}}
	assert.Equal(t, len(run.Complaints()), 1)
}
