package kdbus

import (
	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// maskCases are about masks, filters and many entries.
var maskCases = []suites.Case{
	{
		Name: "match-bloom-not-multiple",
		Doc:  "A mask is whole blocks of the bus's filter size: EDOM, and the entry is not there (kdbus.match(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			for _, size := range []int{0, 8, 63, 65, 127} {
				f.refused("add a mask", p.Match(1, 0, kc.Raw(kc.ItemBloomMask, make([]byte, size))), unix.EDOM)
			}
			a.signals(1)
			p.nothing("a signal")
			f.refused("remove what was not added", p.Unmatch(1), unix.EBADSLT)
		},
	},
	{
		Name: "match-bloom-generations",
		Doc:  "A filter of a generation is compared with that block of the mask, or the last (kdbus.match(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			blocks := []bits{{3: 1}, {4: 2}, {5: 4}}
			p.matches(1, kc.Mask(blocks[0].bytes(), blocks[1].bytes(), blocks[2].bytes()))
			for _, generation := range []uint64{0, 1, 2, 9, 1<<64 - 1} {
				for block := range blocks {
					a.sends(broadcast(1), kc.Filter(generation, blocks[block].bytes()))
					f.through(p, "generation "+hex(generation)+" with the bits of block "+hex(uint64(block)), block == int(min(generation, 2)))
				}
			}
		},
	},
	{
		Name: "match-bloom-big-bus",
		Doc:  "A bus has filters of 8 to 4096 bytes in words of 8, and one hash function at least: EINVAL for others (kdbus.bus(7)).",
		Run:  bigBlooms,
	},
	{
		Name: "match-same-cookie-twice",
		Doc:  "Entries of one cookie are all in force, and are removed together (kdbus.match(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, a, b := f.peer(), f.peer(), f.peer()
			p.matches(1, kc.OfID(kc.ItemID, a.ID))
			p.matches(1, kc.OfID(kc.ItemID, b.ID))
			a.signals(1)
			b.signals(2)
			p.gets("by the first entry", 1)
			p.gets("by the second entry", 2)
			f.do("remove", p.Unmatch(1))
			a.signals(3)
			b.signals(4)
			p.nothing("by removed entries")
		},
	},
	{
		Name: "match-remove-unknown",
		Doc:  "Removing what is not there is EBADSLT (kdbus.match(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			f.refused("remove", p.Unmatch(1), unix.EBADSLT)
			p.matches(1)
			f.do("remove", p.Unmatch(1))
			f.refused("remove again", p.Unmatch(1), unix.EBADSLT)
		},
	},
	{
		Name: "match-replace-nothing",
		Doc:  "REPLACE of a cookie that is not there adds it (match.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, a := f.peer(), f.peer()
			f.do("replace", p.Match(1, kc.MatchReplace))
			a.signals(7)
			p.gets("a signal", 7)
		},
	},
	{
		Name: "match-add-invalid-keeps-old",
		Doc:  "A bad entry replaces nothing (match.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, a := f.peer(), f.peer()
			p.anyMatch()
			f.refused("replace with a bad name", p.Match(1, kc.MatchReplace, kc.Name("bad")), unix.EINVAL)
			f.refused("replace with a bad mask", p.Match(1, kc.MatchReplace, kc.Mask([]byte{1})), unix.EDOM)
			a.signals(7)
			p.gets("a signal", 7)
		},
	},
	{
		Name: "quota-256-matches",
		Doc:  "A connection has 256 match entries at most, 4096 in later branches: EMFILE; at the limit one may be replaced (kdbus.match(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			limit := uint64(kc.MaxMatches)
			if f.variant().manyMatch {
				limit = 4096
			}
			for n := range limit {
				p.matches(n, kc.OfID(kc.ItemIDAdd, unknownID))
			}
			f.refused("one more", p.Match(limit, 0), unix.EMFILE)
			f.do("replace one", p.Match(7, kc.MatchReplace))
			f.refused("one more", p.Match(limit, 0), unix.EMFILE)
			f.do("remove one", p.Unmatch(8))
			p.matches(limit)
		},
	},
	{
		Name: "match-many-performance",
		Doc:  "A broadcast past many entries of many connections reaches those whose last entry matches (kdbus.match(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a := f.peer()
			var all []*peer
			for range 20 {
				p := f.peer(pool(16 << 10))
				for n := range uint64(100) {
					p.matches(n, kc.OfID(kc.ItemID, unknownID))
				}
				p.matches(1000, kc.OfID(kc.ItemID, a.ID))
				all = append(all, p)
			}
			a.signals(7)
			for _, p := range all {
				p.gets("the signal", 7)
			}
		},
	},
}
