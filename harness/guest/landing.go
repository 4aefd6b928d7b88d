package guest

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
)

// LandingVar names the environment variable that says how large the landing is,
// in MiB.
const LandingVar = "KPLAY_LANDING"

// The landing is a file in the guest's memory through which the host hands a
// frozen guest a program and modules: it writes to the pages of the file where
// they lie in the guest's memory. It takes no driver, works on any kernel, and
// costs the guest nothing. The host finds the pages by the mark each begins with.
const (
	landing  = "/landing"
	initPath = "/init"
)

// LandingMark begins each page of the landing; then follow the number of the
// page and the number of all pages, as 8 bytes each, little endian.
const LandingMark = "\xf1kplay landing\x1f\x1d\xd7"

// LandingPage is the size of a page of the landing, in bytes.
const LandingPage = 4096

// makeLanding makes the landing, of size MiB as text. The pages are written
// from memory that does not lie as pages do, or the marks in it would be found,
// too.
func makeLanding(size string) error {
	mib, err := strconv.Atoi(size)
	if err != nil || mib < 0 {
		return fmt.Errorf("make the landing: %s=%q is no number of MiB", LandingVar, size)
	}
	f, err := os.OpenFile(landing, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return fmt.Errorf("make the landing: %w", err)
	}
	defer f.Close()
	const shift, chunk = 64, 1 << 20
	buf := make([]byte, shift+chunk)[shift:]
	for i := range mib {
		for at := 0; at < chunk; at += LandingPage {
			page := buf[at:]
			copy(page, LandingMark)
			binary.LittleEndian.PutUint64(page[len(LandingMark):], uint64((i*chunk+at)/LandingPage))
			binary.LittleEndian.PutUint64(page[len(LandingMark)+8:], uint64(mib*chunk/LandingPage))
		}
		if _, err := f.Write(buf); err != nil {
			return fmt.Errorf("make the landing of %d MiB: %w", mib, err)
		}
	}
	return nil
}
