package kernel

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// aptState is what apt-get's choice of a package comes from: when one of these
// has changed, so may have the choice (apt.conf(5), apt_preferences(5)).
var aptState = []string{
	"/var/lib/apt/lists", "/var/lib/dpkg/arch", "/etc/apt", "/etc/apt/sources.list", "/etc/apt/sources.list.d",
	"/etc/apt/preferences", "/etc/apt/preferences.d", "/etc/apt/apt.conf", "/etc/apt/apt.conf.d",
}

// aptAnswer is what apt-get --print-uris prints for the package. An answer is
// kept as long as the package lists stay the same: to answer takes apt-get half
// a second, more than all the rest of a run that boots nothing.
func aptAnswer(ctx context.Context, pkg string, o Options) (string, error) {
	kept := filepath.Join(o.Cache, "apt", aptKey(pkg))
	if out, err := os.ReadFile(kept); err == nil {
		return string(out), nil
	}
	out, err := apt(ctx, "", pkg, "--print-uris", "download", pkg)
	if err == nil {
		// The cache spares time and nothing else: a full disk is no reason to stop.
		_ = writeWhole(kept, []byte(out))
	}
	return out, err
}

func aptKey(pkg string) string {
	var state strings.Builder
	fmt.Fprintln(&state, pkg)
	for _, path := range aptState {
		if st, err := os.Stat(path); err == nil {
			fmt.Fprintln(&state, path, st.Size(), st.ModTime().UnixNano())
		}
	}
	sum := sha256.Sum256([]byte(state.String()))
	return hex.EncodeToString(sum[:16])
}
