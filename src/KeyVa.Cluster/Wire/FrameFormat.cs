namespace KeyVa.Cluster.Wire;

/// <summary>
/// What nodes of a cluster send each other (docs/format.md, Peer frames), little-endian:
/// <code>
///   frame:    version 1 byte = 1 | cluster 8 bytes | life 8 bytes | number 8 bytes | item*
///   item:     kind 1 byte | flags 1 byte | partition 8 bytes | body
///   body of kinds 1 to 8, 10 to 12 (MessageKind):
///             term 8 | log term 8 | index 8 | commit 8 | hint index 8 | hint term 8 | context 8
///             kind 5 (append) goes on: count 4, then each entry: term 8, kind 1, length 4, bytes
///   body of 32 (forward):   term 8 | group 8 | length 4 | payload of a group without version and stamp
///   body of 33 (refused):   term 8 | group 8 | reason 1 | leader 8
///   body of 34 (told):      term 8 | group 8 | index 8 | version 8 | on the leader's disk 1 | other voters' 1
///   body of 35 (ask):       term 8
///   body of 36 (matches):   term 8 | the leader's durable index 8 | count 1 | the other voters' match indexes 8 each, the furthest first
///   body of 37 (change):    number 8 | what 1 (ChangeKind) | node 8
///   body of 38 (changed):   number 8 | outcome 1 (ChangeOutcome) | leader 8 | commit 8 | count 1 | each other member: node 8, match index 8
///   body of 48 (book):      length 4 | bytes (AddressBook)
///   body of 49 (layout):    length 4 | bytes (PartitionLayout)
/// </code>
/// The hint index of kind 8 (a heartbeat's answer) is the promise on which leases rest, in milliseconds; 0: none, as of builds without leases.
/// Flags: bit 0 reject, bit 1 force, bit 2 quiesce; of a forward: 0, or one more than the voters beside the leader that must have the group on disk
/// before the leader tells so (34), which a node that does not know this leaves out: then the group is answered when it is applied. Kinds 34 to 36 go only to nodes
/// that ask for them. Of a layout: 0, the sender wants to be told the other's too, or 1, it is the answer to such a one. Kinds 37, 38 and 49 are the last item of their frame: a node of a build that does not know them passes over the rest. One frame carries what is to be said to a peer at one moment, of all partitions: so the
/// heartbeats of many groups are one frame. A sender's frames are numbered, upwards from 1 in each life of its process: what must not be done twice
/// (a forward) is passed over in a frame that does not come behind all that came before.
/// </summary>
internal static class FrameFormat
{
    public const byte Version = 1;
    public const int HeadBytes = 25;
    public const int ItemHeadBytes = 10;
    public const int MessageBytes = 7 * sizeof(long);
    public const int EntryHeadBytes = 13;

    public const byte Forward = 32;
    public const byte Refused = 33;
    public const byte Told = 34;
    public const byte Ask = 35;
    public const byte Matches = 36;
    public const byte Change = 37;
    public const byte Changed = 38;
    public const byte Book = 48;
    public const byte Layout = 49;

    public const int ChangeBytes = 17;
    public const int ChangedHeadBytes = 26;

    public const int ToldBytes = 34;

    /// <summary>Bytes of a frame after which it is sent; one larger item has a frame of its own.</summary>
    public const int FullBytes = 1 << 20;
}

/// <summary>Why a forwarded group was not taken; nothing of it was done.</summary>
internal enum ForwardRefusal : byte
{
    /// <summary>The node does not lead, or not in that term; the leader that it knows is told.</summary>
    NotLeader = 1,

    /// <summary>It cannot take any at the moment: it has just begun to lead, hands leadership over, or has too much under way.</summary>
    NotNow = 2,

    /// <summary>The bytes make no sense.</summary>
    Malformed = 3,

    /// <summary>It asks for more replicas than the partition has voters beside the leader.</summary>
    TooFewReplicas = 4,
}
