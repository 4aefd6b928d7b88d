// Package kdbus holds the cases for kdbus: what its manual pages, its own
// selftests and its interface promise of a message bus in the kernel.
//
// A case's Doc names its source. "kdbus.bus(7)" and the like are the manual pages
// of the 2015 tree, Documentation/kdbus; "test-names.c" and the like are its
// selftests, tools/testing/selftests/kdbus; files such as "names.c" are its
// sources, ipc/kdbus, and what rests on nothing else was read there, of August
// 2015. Where those contradict each other the case says so and takes either.
package kdbus

import (
	"slices"

	"github.com/kernel-playground/kplay/suites"
)

// suiteName is the first part of a case's full name.
const suiteName = "kdbus"

// Suite returns the cases.
func Suite() suites.Suite {
	return suites.Suite{
		Name:    suiteName,
		Doc:     "Does the kernel's message bus deliver, refuse and tell as it promises?",
		Feature: "kdbus",
		Modules: []string{"kdbus"},
		Cases: slices.Concat(
			busCases(),
			helloCases(),
			chatCases,
			fdCases(),
			endpointCases(),
			monitorCases,
			nameCases(),
			queueCases,
			messageCases,
			quotaCases,
			quotaDetailCases,
			callCases(),
			replyCases,
			poolCases(),
			slicesCases,
			infoCases,
			policyCases(),
			policyDetailCases,
			metadataCases,
			namespaceCases,
			matchCases(),
			maskCases,
			activatorCases,
			activatorEndCases,
			parseCases(),
			commandCases,
			fsCases,
			lifetimeCases,
			handleCases(),
			pollCases(),
			sendCases(),
			deliveryCases(),
			recvCases,
			memfdCases(),
			limitCases,
			notifyCases,
			acrossCases,
			signalCases,
			dialectCases,
			raceCases(),
			probeCases,
		),
		Programs: map[string]func([]string) int{"remote": perform},
	}
}

// Probes returns the cases that the 2015 code is known not to survive. They are a
// suite of their own, run when it is asked for.
func Probes() suites.Suite {
	return suites.Suite{
		Name:     "kdbus-probe",
		Doc:      "Does the kernel's message bus survive what brought down the one of 2015?",
		Feature:  "kdbus",
		Modules:  []string{"kdbus"},
		OnDemand: true,
		Cases:    crashProbeCases,
	}
}
