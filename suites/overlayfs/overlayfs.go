// Package overlayfs holds the cases for the overlay file system: what its own
// documentation, the system calls' manual pages and POSIX promise of a mount
// that merges directories.
//
// "overlayfs.rst" in a case's Doc is Documentation/filesystems/overlayfs.rst of
// the kernel sources, and source files are named as they are in 6.1.
//
// # Disks
//
// Layers are on tmpfs, where a case needs nothing else: that is the fastest. Some
// tables run once more with all layers on ext4, xfs or btrfs, and what only such
// file systems have, or what only a block device shows, has cases of its own:
// inode flags, quotas, room and inodes that run out, shared data, direct I/O,
// layers that cannot be written to (squashfs, erofs), that lack something (xfs
// without file types, ramfs without extended attributes), that are refused (vfat,
// casefolded ext4), copied disks and changed UUIDs, what is on the disk after each
// kind of sync and after a power cut, and reads and writes that fail.
//
// # What is not tested here
//
//   - what needs other file systems than these: remote and automounted ones as
//     layers, export by an NFS server, file systems without O_TMPFILE;
//   - fs-verity and verity=, fscrypt;
//   - casefolded layers all alike, which are mounted since 6.17;
//   - a power cut in the middle of a copy-up: cuts are made between system calls,
//     when the disk is quiet;
//   - errors of a journal, which end in a file system that is read-only or shut
//     down, and of memory.
//
// Mounts in a user namespace and layers with mapped IDs are tested on tmpfs as
// well, which takes maps since 6.3 and user attributes since 6.6. So on kernels
// before, and on all for other file systems, nothing is known of mapped layers,
// nor of an opaque directory made in a user namespace.
//
// Left out for other reasons: labels and measurements of security modules, which
// the guest does not load; fault injection, which distributions do not build;
// files of more than 4 GiB, directories of 100,000 names and a merge of 500 layers
// name by name, which take too long; what CAP_SYS_RESOURCE is for, reserved blocks
// and quotas, which tmpfs lacks; and credentials of another task than the mounter's
// (override_creds, 6.15).
//
// Left to long runs is what is rarer in use: data-only layers, volatile mounts,
// the mount API by file descriptors, overlays on overlays, full file systems,
// options in a user namespace, what is corrupted between mounts, rarer ways to read
// and write, and all that needs a disk but inode flags; besides those, further layouts of the tables with most cases, and further seeds
// of the fuzzes.
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
		Disks:   disks,
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
			inLong("rotated", callCases()),
			inLong("nested", keepsakeCases()),
			inLong("lower-ro ext4", preserveCases),
			inLong("rotated xfs", metacopyCases),
			metacopyTableCases(),
			leisurely(dataOnlyCases),
			leisurely(volatileCases),
			renameCases(),
			in("otherfs rotated", exchangeCases()),
			noreplaceCases(),
			matrixCases(),
			in("xino", renameFileCases),
			renameDirCases,
			in("xino", redirectCases),
			inLong("btrfs", readdirCases),
			readdirOddCases,
			linkCases,
			indexCases,
			identityCases(),
			xattrCases,
			credentialCases,
			rightCases(),
			mounterCases(),
			execCases,
			usernsDeedCases(),
			usernsAttrCases,
			trespassCases(),
			leisurely(usernsOptionCases()),
			usernsLimitCases,
			idmapDeedCases(),
			idmapCases,
			aclCases,
			leisurely(nestCases),
			containerCases,
			leisurely(corruptionCases()),
			leisurely(indexEntryCases()),
			readonlyCases,
			coherenceCases,
			eventCases,
			notifyCases(),
			leisurely(exerciseCases()),
			leisurely(exhaustCases),
			raceCases(),
			handleCases(),
			leisurely(contextCases),
			flagCases,
			leisurely(syncCases),
			leisurely(errorCases),
			leisurely(cloneCases()),
			leisurely(quotaCases),
			leisurely(unlikeCases),
			leisurely(blockCases),
			leisurely(fixedCases()),
			fuzzCases(),
		),
	}
}
