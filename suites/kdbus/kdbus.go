// Package kdbus holds the cases for kdbus: what its manual pages, its own
// selftests and its interface promise of a message bus in the kernel.
//
// A case's Doc names its source. "kdbus.bus(7)" and the like are the manual pages
// of the 2015 tree, Documentation/kdbus; "test-names.c" and the like are its
// selftests, tools/testing/selftests/kdbus; files such as "names.c" are its
// sources, ipc/kdbus, and what rests on nothing else was read there, of August
// 2015. Where those contradict each other the case says so and takes either.
//
// Every case has a domain of its own, and ends with looks at what must hold of any:
// see fixture.finish. Kernels with kdbus built in are tested as they are; what they
// of the final number set differ in is found by asking. Of the character devices of
// July 2014 only a core is tried, by a case that no kernel could be had for.
//
// # What is not tested here
//
// Loading and unloading the module, which the guest does before the cases; a sender
// whose payload is served by userfaultfd(2), and an io_uring descriptor in a queue
// of the connection it holds, whose outcome nobody has promised; /proc with hidepid=,
// which later kernels keep per mount; a command line without a NUL; a 32-bit caller;
// the freezer, time namespaces, memory limits; the 64,000 users and buses of a large
// machine, and a minute of random operations by 50 processes. Benchmarks are not
// cases.
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
