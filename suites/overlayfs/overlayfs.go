// Package overlayfs holds the cases for the overlay file system: what its own
// documentation, the system calls' manual pages and POSIX promise of a mount
// that merges directories.
//
// "overlayfs.rst" in a case's Doc is Documentation/filesystems/overlayfs.rst of
// the kernel sources, and source files are named as they are in 6.1.
package overlayfs

import (
	"slices"

	"github.com/kernel-playground/kplay/suites"
)

// Suite returns the cases.
func Suite() suites.Suite {
	return suites.Suite{
		Name:    "overlayfs",
		Doc:     "Does the overlay file system merge, copy up and hide as it promises?",
		Feature: "overlayfs",
		Modules: []string{"overlay"},
		Cases: slices.Concat(
			refusalCases(),
			mountCases,
			optionCases,
			shareCases,
			lookupCases,
			layerCases,
			whiteoutCases,
			oddWhiteoutCases,
			createCases,
			creationCases(),
			opaqueCases,
			openingCases(),
			openPathCases,
			callCases(),
			keepsakeCases(),
			preserveCases,
			metacopyCases,
			metacopyTableCases(),
			dataOnlyCases,
			volatileCases,
			renameCases(),
			exchangeCases(),
			noreplaceCases(),
			matrixCases(),
			renameFileCases,
			renameDirCases,
			redirectCases,
			readdirCases,
			linkCases,
			indexCases,
			identityCases(),
			xattrCases,
			credentialCases,
			aclCases,
			nestCases,
			containerCases,
			readonlyCases,
			coherenceCases,
			eventCases,
			exhaustCases,
			raceCases(),
			handleCases(),
			contextCases,
		),
	}
}
