package harness

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/kernel-playground/kplay/harness/guest"
	"github.com/kernel-playground/kplay/harness/vm"
	"github.com/kernel-playground/kplay/images/initramfs"
)

// A stretch is a run of the landing's pages that lie one after the other in a
// guest's memory file, from the byte At on.
type stretch struct {
	At    int64
	Pages int
}

// findLanding finds the pages of a frozen guest's landing by their marks.
func findLanding(ram *os.File, mib int) ([]stretch, error) {
	at := make([]int64, mib<<20/guest.LandingPage)
	found := 0
	err := vm.EachRun(ram, func(off int64, pages []byte) error {
		for ; len(pages) >= guest.LandingPage; off, pages = off+guest.LandingPage, pages[guest.LandingPage:] {
			rest, ok := bytes.CutPrefix(pages, []byte(guest.LandingMark))
			if !ok || binary.LittleEndian.Uint64(rest[8:]) != uint64(len(at)) {
				continue
			}
			i := binary.LittleEndian.Uint64(rest)
			if i >= uint64(len(at)) || at[i] != 0 {
				return errors.New("a page is there twice")
			}
			at[i] = off
			found++
		}
		return nil
	})
	if err == nil && found != len(at) {
		err = fmt.Errorf("%d pages of %d are there", found, len(at))
	}
	if err != nil {
		return nil, &vm.HostError{Deed: "find the landing in the guest's memory", Err: err}
	}
	return join(at), nil
}

func join(at []int64) (all []stretch) {
	for _, off := range at {
		if n := len(all); n > 0 && all[n-1].At+int64(all[n-1].Pages)*guest.LandingPage == off {
			all[n-1].Pages++
			continue
		}
		all = append(all, stretch{At: off, Pages: 1})
	}
	return all
}

// land writes what r reads to a guest's landing.
func land(ram *os.File, landing []stretch, r io.Reader) error {
	for _, s := range landing {
		w := io.NewOffsetWriter(ram, s.At)
		_, err := io.CopyN(w, r, int64(s.Pages)*guest.LandingPage)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return &vm.HostError{Deed: "write to the guest's memory", Err: err}
		}
	}
	return nil
}

// A delivery is what a guest is handed at its landing: the program that becomes
// its agent, and a parcel with the modules and what cases may ask for.
type delivery struct {
	program *initramfs.Program
	parcel  []byte
	digest  string // of both
}

func pack(ctx context.Context, path string, items []guest.Item) (d *delivery, err error) {
	d = new(delivery)
	if d.program, err = initramfs.OpenProgram(path); err != nil {
		return nil, err
	}
	var parcel bytes.Buffer
	err = guest.PackParcel(&parcel, items)
	d.parcel = parcel.Bytes()
	h := sha256.New()
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		_, err = io.Copy(h, d.reader())
	}
	if err != nil {
		d.program.Close()
		return nil, fmt.Errorf("pack what the guest is handed: %w", err)
	}
	d.digest = hex.EncodeToString(h.Sum(nil))
	return d, nil
}

// reader reads the program, then the parcel.
func (d *delivery) reader() io.Reader {
	return io.MultiReader(io.NewSectionReader(d.program, 0, d.program.Size()), bytes.NewReader(d.parcel))
}

func (d *delivery) parcelReader() io.Reader { return bytes.NewReader(d.parcel) }

func (d *delivery) size() int64 { return d.program.Size() + int64(len(d.parcel)) }

// landingSize is how large a landing, in MiB, takes the delivery and still does
// when that has grown a little. It shapes the base, so that the least has room
// for the file systems' modules and disks, whether the cases want them or not.
func (d *delivery) landingSize() int {
	const least, step = 40, 8
	need := int(d.size()*5/4>>20) + 1
	return max(least, (need+step-1)/step*step)
}
