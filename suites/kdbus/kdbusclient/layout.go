package kdbusclient

// A Cmd begins every command, and is the whole of many.
type Cmd struct {
	Size, Flags, ReturnFlags uint64
}

// A HelloCmd is the argument of HELLO.
type HelloCmd struct {
	Cmd
	AttachSend, AttachRecv uint64
	BusFlags               uint64 // told: the flags of BUS_MAKE
	ID                     uint64 // told
	PoolSize               uint64 // bytes, a multiple of the page size
	Offset, ItemsSize      uint64 // told: the slice with the bus's items
	ID128                  [16]byte
}

// A FreeCmd is the argument of FREE.
type FreeCmd struct {
	Cmd
	Offset uint64
}

// An InfoCmd is the argument of CONN_INFO and BUS_CREATOR_INFO.
type InfoCmd struct {
	Cmd
	ID, Attach, Offset, InfoSize uint64
}

// A ListCmd is the argument of LIST.
type ListCmd struct {
	Cmd
	Offset, ListSize uint64
}

// A MsgInfo says where in the pool a message is. MsgSize is the size of the slice.
type MsgInfo struct {
	Offset, MsgSize, ReturnFlags uint64
}

// A SendCmd is the argument of SEND.
type SendCmd struct {
	Cmd
	MsgAddress uint64
	Reply      MsgInfo
}

// A RecvCmd is the argument of RECV.
type RecvCmd struct {
	Cmd
	Priority    int64
	DroppedMsgs uint64
	Msg         MsgInfo
}

// A MatchCmd is the argument of MATCH_ADD and MATCH_REMOVE.
type MatchCmd struct {
	Cmd
	Cookie uint64
}

// A Msg begins every message.
type Msg struct {
	Size, Flags uint64
	Priority    int64
	DstID       uint64
	SrcID       uint64
	PayloadType uint64
	Cookie      uint64
	// Timeout is, with ExpectReply, the deadline of the call, in nanoseconds of
	// CLOCK_MONOTONIC; without, the cookie of the call that is answered.
	Timeout uint64
}

// A Header begins every record of LIST, CONN_INFO and BUS_CREATOR_INFO.
type Header struct {
	Size, ID, Flags uint64
}

// An IDChange is the payload of ID_ADD and ID_REMOVE.
type IDChange struct {
	ID, Flags uint64
}

// A NameChange begins the payload of NAME_ADD, NAME_REMOVE and NAME_CHANGE; the
// name follows.
type NameChange struct {
	Old, New IDChange
}

// Creds are the user and group IDs of a process; ^uint32(0) is no ID.
type Creds struct {
	UID, EUID, SUID, FSUID, GID, EGID, SGID, FSGID uint64
}

// PIDs are the process, thread and parent IDs; 0 is one that cannot be seen.
type PIDs struct {
	PID, TID, PPID uint64
}

// An Audit is the payload of AUDIT.
type Audit struct {
	SessionID, LoginUID uint32
}

// A Timestamp says when a message was sent, and after how many others of its bus.
type Timestamp struct {
	Seqnum, MonotonicNS, RealtimeNS uint64
}

// A Vec is the payload of PAYLOAD_VEC, with an address, and of PAYLOAD_OFF, with
// an offset from the beginning of the message.
type Vec struct {
	Size, Address uint64
}

// A BloomParameter says how the filters of a bus are: bytes, and hash functions.
type BloomParameter struct {
	Size, Hashes uint64
}

// A Memfd is the payload of PAYLOAD_MEMFD.
type Memfd struct {
	Start, Size uint64
	FD          int32
	_           uint32
}

// A PolicyAccess is the payload of POLICY_ACCESS.
type PolicyAccess struct {
	Type, Access, ID uint64
}

// Caps are the payload of CAPS on a kernel with up to 64 capabilities.
type Caps struct {
	Last                                        uint32
	Inheritable, Permitted, Effective, Bounding [2]uint32
}
