// Package kdbusclient speaks the kernel interface of kdbus as it was at its end
// (August 2015, "the final number set"): buses, endpoints, connections, their
// pools, messages, names, matches and policy, by ioctl(2) on the files of a
// kdbusfs.
//
// Calls return the kernel's error as a plain unix.Errno, so that a caller can
// compare. What comes out of a pool is copied and bounded before it is looked at:
// a kernel that writes nonsense there makes errors, not panics.
//
// Commands that no well-behaved client would give are built by Encode, changed as
// bytes, and given by Ioctl.
package kdbusclient

// IDs with a meaning of their own.
const (
	SrcKernel    uint64 = 0          // the source of notifications
	DstName      uint64 = 0          // the destination is given by a DST_NAME item
	DstBroadcast uint64 = 1<<64 - 1  // every connection with a match
	MatchAnyID   uint64 = 1<<64 - 1  // in a match rule
	Negotiate    uint64 = 1 << 63    // flag of any command or message: ask, do nothing
	FSMagic      int64  = 0x44427573 // what statfs(2) says of a kdbusfs
	FSType              = "kdbusfs"
)

// Limits of the final number set.
const (
	MaxCommand   = 32768   // bytes of a command, and of a message with its items
	MaxPayload   = 2 << 20 // bytes of all PAYLOAD_VEC items of a message
	MaxMemfds    = 16      // PAYLOAD_MEMFD items of a message
	MaxFDs       = 16      // descriptors of a message, and queued of one user
	MaxQueued    = 256     // messages of one user queued at one connection
	MaxCalls     = 128     // unanswered calls of a connection
	MaxNames     = 256     // names a connection owns or waits for
	MaxMatches   = 256     // match entries of a connection; 4096 in the branches for 4.1 to 4.3
	MaxConns     = 1024    // connections of a user in a domain
	MaxBuses     = 16      // buses of a user in a domain
	MaxSysName   = 63      // characters in the name of a bus or an endpoint, or a description
	MaxNameLen   = 255     // characters in a well-known name
	MaxBloomSize = 4096    // bytes of a bus's bloom filters
)

// Flags of BUS_MAKE and ENDPOINT_MAKE.
const (
	AccessGroup uint64 = 1 << iota
	AccessWorld
)

// Flags of HELLO.
const (
	AcceptFD uint64 = 1 << iota
	Activator
	PolicyHolder
	Monitor
)

// Flags of a message.
const (
	ExpectReply uint64 = 1 << iota
	NoAutoStart
	Signal
)

// SyncReply has SEND wait for the reply.
const SyncReply uint64 = 1

// Flags of RECV.
const (
	RecvPeek uint64 = 1 << iota
	RecvDrop
	RecvUsePriority
)

// What RECV returns: IncompleteFDs with the message, DroppedMsgs with the command.
const (
	IncompleteFDs uint64 = 1 << iota
	DroppedMsgs
)

// Flags of LIST.
const (
	ListUnique uint64 = 1 << iota
	ListNames
	ListActivators
	ListQueued
	ListAll = ListUnique | ListNames | ListActivators | ListQueued
)

// MatchReplace is the flag of MATCH_ADD.
const MatchReplace uint64 = 1

// Flags of a name: the first three are asked for, the others are told.
const (
	NameReplaceExisting uint64 = 1 << iota
	NameAllowReplacement
	NameQueue
	NameInQueue
	NameActivator
	NamePrimary
	NameAcquired
)

// Whom a policy entry is about.
const (
	PolicyUser uint64 = 1 + iota
	PolicyGroup
	PolicyWorld
)

// What a policy entry grants; each includes the ones before it.
const (
	PolicySee uint64 = iota
	PolicyTalk
	PolicyOwn
)

// Payload types.
const (
	PayloadKernel uint64 = 0
	PayloadDBus   uint64 = 0x4442757344427573
)

// Attach flags: what metadata a connection gives and wants. An item's type is
// ItemTimestamp plus the flag's bit number.
const (
	AttachTimestamp uint64 = 1 << iota
	AttachCreds
	AttachPIDs
	AttachAuxGroups
	AttachNames
	AttachTIDComm
	AttachPIDComm
	AttachExe
	AttachCmdline
	AttachCgroup
	AttachCaps
	AttachSeclabel
	AttachAudit
	AttachDescription
	AttachAll uint64 = 1<<14 - 1
	AttachAny uint64 = 1<<64 - 1
)

// Item types.
const (
	ItemNegotiate uint64 = 1 + iota
	ItemPayloadVec
	ItemPayloadOff
	ItemPayloadMemfd
	ItemFDs
	ItemCancelFD
	ItemBloomParameter
	ItemBloomFilter
	ItemBloomMask
	ItemDstName
	ItemMakeName
	ItemAttachSend
	ItemAttachRecv
	ItemID
	ItemName
	ItemDstID
)

// Item types of metadata.
const (
	ItemTimestamp uint64 = 0x1000 + iota
	ItemCreds
	ItemPIDs
	ItemAuxGroups
	ItemOwnedName
	ItemTIDComm
	ItemPIDComm
	ItemExe
	ItemCmdline
	ItemCgroup
	ItemCaps
	ItemSeclabel
	ItemAudit
	ItemDescription
)

// ItemPolicyAccess is the type of a policy entry's item.
const ItemPolicyAccess uint64 = 0x2000

// Item types of notifications.
const (
	ItemNameAdd uint64 = 0x8000 + iota
	ItemNameRemove
	ItemNameChange
	ItemIDAdd
	ItemIDRemove
	ItemReplyTimeout
	ItemReplyDead
)
