package kernel

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
)

// requireEnv makes a test fail where it would skip for want of the network.
const requireEnv = "KPLAY_REQUIRE"

// openDistro opens a kernel of the distribution from the user's own cache.
func openDistro(t *testing.T, ref string) *Build {
	t.Helper()
	if testing.Short() {
		t.Skip("a kernel of the distribution may have to be downloaded")
	}
	b, err := Open(context.Background(), ref, Options{Progress: func(line string) { t.Log(line) }})
	if err != nil && os.Getenv(requireEnv) == "" {
		t.Skipf("%s is not to be had here (%s=1 makes this an error): %v", ref, requireEnv, err)
	}
	assert.NilError(t, err)
	return b
}

func TestDistroKernel(t *testing.T) {
	for _, ref := range []string{"apt:linux-image-cloud-amd64", "apt:linux-image-amd64"} {
		b := openDistro(t, ref)
		assert.Equal(t, b.Source, ref)
		assert.Assert(t, strings.HasPrefix(b.NVR, "linux-image-"+b.Release+"-"), b.NVR)
		assert.Assert(t, strings.Contains(b.NVR, strings.TrimPrefix(b.Upstream.String(), "v")), "%s of %s", b.Upstream, b.NVR)
		assert.Equal(t, b.Option("CONFIG_OVERLAY_FS"), "m")

		load, missing, err := b.ResolveModules([]string{"overlay", "btrfs", "virtio_console", "no-such"}, nil)
		assert.NilError(t, err)
		assert.DeepEqual(t, missing, []string{"no_such"})
		order := names(load)
		assert.Assert(t, slices.Contains(order, "overlay"))
		assert.Assert(t, slices.Index(order, "raid6_pq") < slices.Index(order, "btrfs"), order)
		for _, m := range load {
			data, err := m.Data()
			assert.NilError(t, err)
			info, err := readModinfo(data)
			assert.NilError(t, err)
			assert.Equal(t, info.name, m.Name)
		}
	}
}

func TestLatest(t *testing.T) {
	want := openDistro(t, "apt:linux-image-cloud-amd64")
	b, err := Latest(context.Background(), Options{})
	assert.NilError(t, err)
	assert.Equal(t, b.Digest, want.Digest)
	assert.Assert(t, strings.HasPrefix(b.Source, "apt:linux-image-"))
}
