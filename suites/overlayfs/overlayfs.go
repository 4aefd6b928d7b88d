// Package overlayfs holds the cases for the overlay file system: what its own
// documentation, the system calls' manual pages and POSIX promise of a mount
// that merges directories.
//
// "overlayfs.rst" in a case's Doc is Documentation/filesystems/overlayfs.rst of
// the kernel sources, and source files are named as they are in 6.1.
//
// # What is not tested here
//
// The guest has no disk and no mkfs, so that all layers are on tmpfs. That leaves
// out:
//
//   - what only ext4, xfs or btrfs have: casefolded lower directories, quotas and
//     project quotas (EDQUOT), reflinks, inode flags in the lower layer (immutable,
//     append), fs-verity, fscrypt, xfs without file types in its directories, and
//     file systems without extended attributes, O_TMPFILE or file handles;
//   - what needs a block device that can fail or be counted: EIO while copying up,
//     write-back errors on a volatile mount, what fsync(2) and syncfs(2) bring to
//     the disk, a crash in the middle of a copy-up, freezing the upper layer's file
//     system, loop devices and swap files on the overlay;
//   - remote and automounted file systems as layers, and export by an NFS server;
//   - erofs images, and verity=, which needs fs-verity.
//
// Left out for other reasons: mounts inside a user namespace, which the
// several threads of a Go process cannot enter, and idmapped layers, which need
// one; labels and measurements of security modules, which the guest does not
// load; fault injection, which distributions do not build; files of more than 4
// GiB, directories of 100,000 names and a merge of 500 layers name by name, which
// take too long.
//
// Of the release candidates of 3.18 and the patches before, nothing that only
// they promise is tested: cases for what later kernels added are skipped there.
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
			in("otherfs", shownCases),
			shareCases,
			lookupCases,
			layerCases,
			in("multi", whiteoutCases),
			oddWhiteoutCases,
			createCases,
			creationCases(),
			opaqueCases,
			openingCases(),
			openPathCases,
			in("rotated", callCases()),
			in("nested", keepsakeCases()),
			in("lower-ro", preserveCases),
			in("rotated", metacopyCases),
			metacopyTableCases(),
			dataOnlyCases,
			volatileCases,
			renameCases(),
			in("otherfs rotated", exchangeCases()),
			noreplaceCases(),
			matrixCases(),
			in("xino", renameFileCases),
			renameDirCases,
			in("xino", redirectCases),
			readdirCases,
			readdirOddCases,
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
			fuzzCases(),
		),
	}
}
