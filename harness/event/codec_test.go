package event

import (
	"reflect"
	"testing"

	"gotest.tools/v3/assert"
)

// full has every field set, whichever there are.
func full(t testing.TB) Event {
	e := Event{Facts: new(Facts)}
	fill(t, reflect.ValueOf(&e).Elem())
	return e
}

func fill(t testing.TB, v reflect.Value) {
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString("text\x00\xff")
		case reflect.Int64:
			f.SetInt(-1 << 62)
		case reflect.Uint64:
			f.SetUint(1<<64 - 1)
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Pointer:
			f.Set(reflect.ValueOf(&Facts{Release: "r", Filesystems: []string{"f"}, Marks: []Mark{{"m", 1}}, Modules: map[string]string{"m": "loaded"}}))
		case reflect.Slice:
			f.SetBytes([]byte{0, 1})
		default:
			t.Fatalf("a field of kind %v", f.Kind())
		}
	}
}

func TestEveryFieldArrives(t *testing.T) {
	for _, e := range []Event{full(t), {}, {Kind: Ping}, {Kind: Finish, Case: "s/c", Status: "pass", Taint: 512}} {
		b, err := encode(e)
		assert.NilError(t, err)
		got, err := decode(b)
		assert.NilError(t, err)
		assert.DeepEqual(t, got, e)
	}
}

func TestCutEventIsRefused(t *testing.T) {
	b, err := encode(Event{Kind: Finish, Reason: "because"})
	assert.NilError(t, err)
	for n := 1; n < len(b); n++ {
		if _, err := decode(b[:n]); err == nil && n != 2+len(Finish) {
			t.Errorf("%d bytes of %d pass for an event", n, len(b))
		}
	}
}

func FuzzDecode(f *testing.F) {
	b, err := encode(full(f))
	assert.NilError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decode(b)
		if err != nil {
			return
		}
		once, err := encode(e)
		assert.NilError(t, err)
		e, err = decode(once)
		assert.NilError(t, err)
		twice, err := encode(e)
		assert.NilError(t, err)
		assert.DeepEqual(t, twice, once)
	})
}
