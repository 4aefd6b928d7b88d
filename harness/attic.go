package harness

import (
	"context"
	"errors"
	"strings"

	"github.com/kernel-playground/kplay/harness/guest"
	"github.com/kernel-playground/kplay/images/disk"
	"github.com/kernel-playground/kplay/images/kernel"
	"github.com/kernel-playground/kplay/suites"
)

// attic gives what the plan's cases may ask for. They load modules when they
// want them: those of file systems would make every guest slower by seconds
// (raid6_pq and xor, of btrfs, measure their own speed).
func (s *Session) attic(ctx context.Context) (items []guest.Item, err error) {
	modules, _, err := s.plan.Build.ResolveModules(s.plan.loads(), s.plan.Replace)
	if err != nil {
		return nil, err
	}
	for _, m := range modules {
		items = append(items, kept(suites.ModulesDir, m.Name+suites.ModuleExt, m.Data),
			kept(suites.ModulesDir, m.Name+suites.NeedsExt, needs(m)))
	}
	for _, d := range s.plan.disks() {
		packed, err := disk.Make(ctx, s.plan.Cache, d)
		name := d.Name + suites.PackedExt
		if missing := disk.MissingError(""); errors.As(err, &missing) {
			packed, name, err = []byte(missing), d.Name+suites.WhyNotExt, nil
		}
		if err != nil {
			return nil, mendable(err, s.plan.Cache)
		}
		items = append(items, kept(suites.DisksDir, name, func() ([]byte, error) { return packed, nil }))
	}
	return items, nil
}

func kept(dir, name string, data func() ([]byte, error)) guest.Item {
	return guest.Item{Name: guest.Keep + dir + "/" + name, Data: data}
}

func needs(m kernel.Module) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(strings.Join(m.Needs, "\n")), nil }
}
