package overlayfs

import (
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/kernel-playground/kplay/suites"
)

// shownCases are about what mountinfo tells of an overlay.
var shownCases = []suites.Case{
	{
		Name: "option-shown-unless-default",
		Doc:  "mountinfo shows the layers, and each option that is not as the module's parameter has it (fs/overlayfs/super.c, ovl_show_options).",
		Run: func(t *suites.T) {
			for _, name := range slices.Sorted(maps.Keys(parameters)) {
				for _, value := range []string{"on", "off"} {
					if !lacks(t, name) {
						showsOption(t, name, value)
					}
				}
			}
		},
	},
}

// showsOption mounts with one option. xino is shown where the layers are on several
// file systems.
func showsOption(t *suites.T, name, value string) {
	t.Helper()
	o := layers(t, lower(file("a", "lower")))
	o.options = []string{name + "=" + value}
	if name == "xino" && o.sameFS() {
		return
	}
	o.do("mount with "+o.options[0], o.mount())
	defer o.unmount()
	got := strings.Split(o.mountinfo(), ",")
	for _, want := range []string{"lowerdir=" + o.lowers[0], "upperdir=" + o.upper, "workdir=" + o.work} {
		if !slices.Contains(got, want) {
			t.Errorf("with %s=%s mountinfo does not show %s: %q", name, value, want, got)
		}
	}
	text, err := os.ReadFile("/sys/module/overlay/parameters/" + parameters[name])
	o.do("read the parameter", err)
	standard := strings.TrimSpace(string(text)) == map[string]string{"on": "Y", "off": "N"}[value]
	if is := slices.Contains(got, o.options[0]); is == standard {
		t.Errorf("mountinfo shows %s=%s: %v, and the parameter is %q", name, value, is, text)
	}
	for _, option := range got {
		if other, v, _ := strings.Cut(option, "="); other == name && v != value {
			t.Errorf("mountinfo shows %s, mounted with %s=%s", option, name, value)
		}
	}
}
