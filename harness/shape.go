package harness

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"github.com/kernel-playground/kplay/harness/guest"
	"github.com/kernel-playground/kplay/harness/template"
	"github.com/kernel-playground/kplay/harness/vm"
)

// shape is everything that shapes a base, as the key of it. It is worked out
// once, under s.making: to read the modules takes longer than to open a template.
func (s *Session) shape(accel vm.Accel) (string, error) {
	if key, ok := s.shapes[accel]; ok {
		return key, nil
	}
	key, err := s.newShape(accel)
	if err == nil {
		s.shapes[accel] = key
	}
	return key, err
}

func (s *Session) newShape(accel vm.Accel) (string, error) {
	st, err := os.Stat(s.qemu)
	if err != nil {
		return "", &vm.HostError{Deed: "look at QEMU", Err: err}
	}
	spec := s.spec(accel)
	spec.Kernel = s.plan.Build.Digest
	shape := struct {
		Source, QEMU, CPU    string
		Spec                 vm.Spec
		Unpacked             bool
		Transport, Libraries []string
	}{
		Source: guest.Source, QEMU: fmt.Sprint(s.qemu, st.Size(), st.ModTime()),
		Spec: spec, Unpacked: s.kernel != s.plan.Build.Image,
	}
	if accel == vm.KVM {
		shape.CPU = s.run.Host.CPU + s.run.Host.Kernel
	} else {
		shape.CPU = vm.Emulated
	}
	for _, m := range s.transport {
		data, err := m.Data()
		if err != nil {
			return "", err
		}
		shape.Transport = append(shape.Transport, m.Name+digestOf(data))
	}
	for _, lib := range s.delivery.program.Libraries {
		st, err := os.Stat(lib)
		if err != nil {
			return "", &vm.HostError{Deed: "look at a library of the agent", Err: err}
		}
		shape.Libraries = append(shape.Libraries, fmt.Sprint(lib, st.Size(), st.ModTime()))
	}
	b, err := json.Marshal(shape)
	return digestOf(b), err
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// readyKey is the key of the frozen that a base becomes by the delivery.
func (s *Session) readyKey(baseKey string) string {
	return digestOf([]byte(baseKey + s.delivery.digest))
}

func (s *Session) store() *template.Store {
	return &template.Store{Dir: template.Dir(s.plan.Cache), Notice: s.plan.Watch.Notice}
}
